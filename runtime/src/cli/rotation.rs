//! `kassa key rotate-master`: a new master key in place of the old one, while the server runs.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::Client,
    print::{self, text},
    progress,
};

/// Time between looks whether everything is resealed, and their maximum number.
const LOOK: Duration = Duration::from_secs(3);
const LOOKS_MAX: u32 = 100;

#[derive(Debug, Args)]
pub(super) struct RotationArgs {
    /// End the rotation: older keys open nothing but backups of before
    #[arg(long)]
    finish: bool,
}

pub(super) async fn run(client: &Client, args: RotationArgs, json: bool) -> anyhow::Result<()> {
    if args.finish {
        let key = client.post("/v1/operator/master_key/finish", &json!({})).await?;
        shown(&key, json, || {
            print::done(format!(
                "{} is the only master key; older ones open only backups of before",
                text(&key, "id")
            ));
        });
        return Ok(());
    }
    let key = sealed_anew(client, client.post("/v1/operator/master_key/rotate", &json!({})).await?).await?;
    shown(&key, json, || {
        print::done(format!("everything is sealed with the new master key {}", text(&key, "id")));
        print::note(
            "\nKeep a copy of master.key apart from the database, and the old one as long as backups of before.\n\
             The old one still opens everything, until you end this: kassa key rotate-master --finish",
        );
    });
    Ok(())
}

/// Waits until the running servers have sealed everything with the newest key.
async fn sealed_anew(client: &Client, mut key: Value) -> anyhow::Result<Value> {
    let spinner = progress::spinner("running servers seal everything anew …");
    for _ in 0..LOOKS_MAX {
        if key["sealed_with_older_keys"] == 0 {
            spinner.finish_and_clear();
            return Ok(key);
        }
        tokio::time::sleep(LOOK).await;
        key = client.get("/v1/operator/master_key").await?;
    }
    spinner.finish_and_clear();
    anyhow::bail!(
        "{} values are sealed with an older master key yet; the server's log says why. Finish later with \
         `kassa key rotate-master --finish`",
        text(&key, "sealed_with_older_keys"),
    )
}

fn shown(key: &Value, json: bool, people: impl FnOnce()) {
    if json { print::json(key) } else { people() }
}
