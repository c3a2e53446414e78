//! `kassa transfer`: transfers to a merchant's addresses.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    client::{Client, ServerArgs},
    print::{self, some, text},
};

const EXAMPLES: &str = "\
Examples:
  kassa transfer find base 0x5c50…e1f2       a payer says: I have paid, here is the hash

With a merchant's key, from KASSA_KEY or --key.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TransferArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at one transaction, and take in what it moved to the merchant's addresses
    Find {
        /// Like base
        network: String,
        /// The transaction's id, as a wallet or an explorer shows it
        tx: String,
    },
}

pub(super) async fn run(global: &Global, args: TransferArgs) -> anyhow::Result<()> {
    let client = Client::new(global, &args.server)?;
    match args.command {
        Command::Find { network, tx } => {
            let found = client.post("/v1/transfers/find", &json!({ "network": network, "tx": tx })).await?;
            if args.server.json { print::json(&found) } else { show(&found) }
        }
    }
    Ok(())
}

fn show(found: &Value) {
    print::line(text(found, "detail"));
    let transfers = found["transfers"].as_array().map_or(&[][..], Vec::as_slice);
    if transfers.is_empty() {
        return;
    }
    let row = |transfer: &Value| {
        let paid = transfer["payments"].as_array().into_iter().flatten();
        let paid: Vec<String> = paid
            .map(|payment| some(payment, "invoice_id").unwrap_or_else(|| "a deposit".to_owned()))
            .collect();
        let pays = if paid.is_empty() { text(transfer, "reason") } else { paid.join(" ") };
        let [id, amount, asset, status] =
            ["id", "amount", "asset", "status"].map(|field| text(transfer, field));
        vec![id, amount, asset, status, pays]
    };
    print::line("");
    print::table(
        &["TRANSFER", "AMOUNT", "ASSET", "STATUS", "PAYS"],
        &transfers.iter().map(row).collect::<Vec<_>>(),
    );
}
