//! `kassa serve`: the server.

use std::net::SocketAddr;

use clap::Args;
use console::style;

use super::{Global, client::local, folder::Folder, logging, print, progress, stop};
use crate::{app::App, config::Config, server::Options};

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
    let mut first = app.first_operator_key(preset.as_deref()).await?.filter(|_| preset.is_none());
    let mut announced = Ok(());
    let served = app
        .serve(stop, |address| {
            announced = folder.announce(address);
            listening(address);
            if let Some(key) = first.take() {
                show(&key);
                next(address, &key);
            }
        })
        .await;
    // It did not come to serving, but the key is made.
    if let Some(key) = first {
        show(&key);
    }
    served?;
    announced?;
    print::note("Kassa has stopped.");
    Ok(())
}

/// Opens everything, with a spinner while plugins compile.
pub(super) async fn open(folder: &Folder, config: Config) -> anyhow::Result<App> {
    let spinner =
        progress::spinner("opening the database and compiling plugins (the first start takes longest) …");
    let app = App::open(Options { data_dir: folder.path().to_owned(), config }).await;
    spinner.finish_and_clear();
    app
}

fn listening(address: SocketAddr) {
    let url = local(address);
    print::line(format!("{} Kassa {} serves {url}", style("●").green(), env!("CARGO_PKG_VERSION")));
    print::line(format!("  API reference: {url}/docs    Ctrl-C stops it"));
}

/// Shows the operator's key, this once.
fn show(key: &str) {
    let edge = |text: &str| style(text.to_owned()).dim();
    let bar = "─".repeat(key.len() + 4);
    print::line("");
    print::line("  Your operator's key. It is shown this once and opens everything; store it now.");
    print::line("");
    print::line(format!("  {}", edge(&format!("╭{bar}╮"))));
    print::line(format!("  {}  {}  {}", edge("│"), style(key).bold(), edge("│")));
    print::line(format!("  {}", edge(&format!("╰{bar}╯"))));
    print::line("");
}

/// Shows the next steps after the first start.
fn next(address: SocketAddr, key: &str) {
    let kassa = std::env::args().next().unwrap_or_else(|| "kassa".to_owned());
    let url = local(address);
    print::line("  What is next, in another terminal:");
    print::line("");
    print::line(format!("    export KASSA_KEY={key}"));
    print::line(format!("    export KASSA_URL={url}"));
    print::line(format!("    {kassa} merchant create 'Corner shop'"));
    print::line(format!("    {kassa} network list"));
    print::line("");
}
