//! `kassa migrate`: brings the schema up to date without serving.

use clap::Args;
use serde_json::json;

use super::{Global, folder::Folder, print};
use crate::db::{Db, version};

const EXAMPLES: &str = "\
Examples:
  kassa migrate --data /var/lib/kassa
  kassa migrate --check               says whether anything is to do; status 1 if so

`kassa serve` does the same when it starts. This is for doing it at another time, or with other rights.
There is no way back: keep a copy of the database before you upgrade.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MigrateArgs {
    /// Change nothing; status 1 if there is something to do
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: MigrateArgs) -> anyhow::Result<()> {
    let config = global.config()?;
    let url = config.database_url(&global.data());
    let to = version::known();
    // On SQLite nobody else may work in the folder; a check disturbs nobody.
    let _folder = if args.check { None } else { Some(Folder::lock(&global.data())?) };
    let from = version::applied(&url).await?;
    anyhow::ensure!(from <= to, "the database has version {from}, this kassa knows {to}: use a newer kassa");
    if args.check {
        anyhow::ensure!(
            from == to,
            "the database has version {from}, this kassa needs {to}: run `kassa migrate`"
        );
    } else {
        Db::open(&url).await?.close().await;
    }
    if args.json {
        print::json(&json!({ "from": from, "to": to }));
    } else if from == to {
        print::done(format!("the database has version {to}: nothing to do"));
    } else {
        print::done(format!("the database went from version {from} to {to}"));
    }
    Ok(())
}
