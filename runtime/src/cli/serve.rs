//! `kassa serve`: the server.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use console::style;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Global, client::local, folder::Folder, logging, print, stop};
use crate::{
    app::{App, Options},
    config::Config,
};

const EXAMPLES: &str = "\
Examples:
  kassa serve                                   in ./kassa-data, on 127.0.0.1:7070
  kassa serve --data /var/lib/kassa
  KASSA_LISTEN=0.0.0.0:7070 kassa serve         behind a TLS proxy
  KASSA_DATABASE=postgres://kassa@db/kassa kassa serve

The first start makes the data folder and an operator's key, which it prints once.
For automation, KASSA_OPERATOR_KEY gives that first key instead (`op_` and 32 of a-z, 2-9).
SIGTERM and Ctrl-C end it in good order; kill -9 loses nothing either.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {}

pub(super) async fn run(global: &Global, ServeArgs {}: ServeArgs) -> anyhow::Result<()> {
    let config = global.config()?;
    logging::to_stderr(&config)?;
    let stop = stop::on_signal()?;
    let folder = Folder::lock(&global.data())?;
    let app = open(&folder, config).await?;
    let preset = std::env::var("KASSA_OPERATOR_KEY").ok().filter(|key| !key.is_empty());
    let first = app.first_operator_key(preset.as_deref()).await?;
    let mut announced = Ok(());
    app.serve(stop, |address| {
        announced = folder.announce(address);
        match first.filter(|_| preset.is_none()) {
            Some(key) => welcome(address, &key),
            None => listening(address),
        }
    })
    .await?;
    announced?;
    print::note("Kassa has stopped.");
    Ok(())
}

/// Opens everything, with a sign of life while plugins compile.
pub(super) async fn open(folder: &Folder, config: Config) -> anyhow::Result<App> {
    // On a terminal only; hidden elsewhere.
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message("opening the database and compiling plugins (the first start takes longest) …");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let app = App::open(Options { data_dir: folder.path().to_owned(), config }).await;
    spinner.finish_and_clear();
    app
}

fn listening(address: SocketAddr) {
    let url = local(address);
    print::line(format!("{} Kassa {} serves {url}", style("●").green(), env!("CARGO_PKG_VERSION")));
    print::line(format!("  API reference: {url}/docs    Ctrl-C stops it"));
}

/// What the first start says.
fn welcome(address: SocketAddr, key: &str) {
    let url = local(address);
    let width = key.len() + 4;
    let bar = style("─".repeat(width)).dim();
    let (left, right) = (style("│").dim(), style("│").dim());
    listening(address);
    print::line("");
    print::line("  Your operator's key. It is shown this once and opens everything; store it now.");
    print::line("");
    print::line(format!("  {}{bar}{}", style("╭").dim(), style("╮").dim()));
    print::line(format!("  {left}  {}  {right}", style(key).bold()));
    print::line(format!("  {}{bar}{}", style("╰").dim(), style("╯").dim()));
    print::line("");
    print::line("  What is next, in another terminal:");
    print::line("");
    print::line(format!("    export KASSA_URL={url} KASSA_KEY={key}"));
    print::line("    kassa merchant create 'Corner shop'");
    print::line("    kassa network list");
    print::line("");
}
