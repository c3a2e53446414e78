//! `kassa bench`: how fast Kassa is here, beside how fast this machine is.

use clap::Args;

use super::Global;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {}

pub(super) async fn run(_global: &Global, BenchArgs {}: BenchArgs) -> anyhow::Result<()> {
    anyhow::bail!("there are no scenarios yet")
}
