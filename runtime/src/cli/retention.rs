//! `kassa retention`: old data that the next pass would delete. It deletes nothing itself.

use clap::Args;
use serde_json::Value;

use super::{
    Global,
    client::{Client, ServerArgs},
    print::{self, some, text},
};

const EXAMPLES: &str = "\
Examples:
  kassa retention                            what would go now, after a change of [retention] too

The server deletes what is old by itself, a minute after its start and then every hour. With the operator's key, from
KASSA_KEY or --key.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RetentionArgs {
    /// Only show, which is all that this command does
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(global: &Global, args: RetentionArgs) -> anyhow::Result<()> {
    let RetentionArgs { dry_run: _, server } = args;
    let answer = Client::new(global, &server)?.get("/v1/operator/retention").await?;
    if server.json {
        print::json(&answer);
        return Ok(());
    }
    let row = |kind: &Value| {
        let days = kind["kept_days"].as_u64();
        let kept = days.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"));
        let more = if kind["more"] == true { " or more" } else { "" };
        let oldest = some(kind, "oldest_at").unwrap_or_default();
        vec![text(kind, "kind"), kept, format!("{}{more}", text(kind, "rows")), oldest]
    };
    let kinds = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
    print::table(&["KIND", "KEPT", "WOULD GO", "OLDEST"], &kinds.iter().map(row).collect::<Vec<_>>());
    Ok(())
}
