//! Divides one transfer among several open invoices. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

use kassa_sdk::hook::{self, SettingsError};
use kassa_sdk::matcher::{Candidate, Context, Decision, Matcher, Part};
use kassa_sdk::types::Transfer;
use serde::Deserialize;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_matcher!(Hook);

struct Hook;

impl Matcher for Hook {
    fn match_transfer(transfer: Transfer, candidates: Vec<Candidate>, context: Context) -> Decision {
        hook::decided(decide(&transfer, &candidates, &context))
    }
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    partial: bool,
    tag: Option<String>,
}

fn decide(
    transfer: &Transfer,
    candidates: &[Candidate],
    context: &Context,
) -> Result<Decision, SettingsError> {
    let settings: Settings = hook::settings(&context.settings)?;
    let mut rest = transfer.amount.map_or(0, u128::from);
    let mut open: Vec<_> = (0u32..)
        .zip(candidates)
        .filter(|(_, candidate)| settings.tag.as_ref().is_none_or(|tag| *tag == candidate.tag))
        .map(|(index, candidate)| (candidate.created_ms, index, wanted(candidate)))
        .filter(|(.., wanted)| *wanted > 0)
        .collect();
    open.sort_unstable();

    let mut parts = Vec::new();
    for (_, candidate, wanted) in open {
        // Money that pays no invoice in full was hardly meant to be divided.
        let enough = rest >= wanted || (settings.partial && !parts.is_empty());
        if rest == 0 || !enough {
            break;
        }
        let amount = wanted.min(rest);
        rest -= amount;
        parts.push(Part { candidate, amount: amount.into() });
    }
    Ok(match parts.as_slice() {
        [] => Decision::Pass,
        [only] if rest == 0 => Decision::Pay(only.candidate),
        _ => Decision::Split(parts),
    })
}

/// Amount that the invoice still waits for, base units.
fn wanted(candidate: &Candidate) -> u128 {
    u128::from(candidate.due).saturating_sub(candidate.received.into())
}
