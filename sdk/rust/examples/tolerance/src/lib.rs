//! Lets a transfer pay that an exchange's fee made a little short. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

use kassa_sdk::hook::{self, Decimal, SettingsError};
use kassa_sdk::matcher::{Candidate, Context, Decision, Matcher};
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

const PERCENT_MAX: u128 = 10;
/// Maximum number of decimals of a percentage: few enough that a share never overflows.
const PERCENT_SCALE_MAX: u32 = 4;

#[derive(Deserialize)]
struct Settings {
    percent: Option<String>,
    absolute: Option<String>,
}

/// Maximum distance of an amount from what is open.
struct Tolerance {
    /// The share `parts` of `whole`, at most a tenth.
    parts: u128,
    whole: u128,
    /// Base units.
    absolute: u128,
}

impl Tolerance {
    fn of(settings: &Settings, decimals: u8) -> Result<Self, SettingsError> {
        let percent = settings.percent.as_deref().unwrap_or("0");
        let (parts, one) = Decimal::parse(percent)
            .filter(|percent| percent.scale <= PERCENT_SCALE_MAX)
            .map(|percent| (percent.digits, 10u128.pow(percent.scale)))
            .filter(|(parts, one)| *parts <= PERCENT_MAX * one)
            .ok_or_else(|| {
                SettingsError(format!(
                    "percent is a decimal from 0 to {PERCENT_MAX}, with at most {PERCENT_SCALE_MAX} digits behind the point"
                ))
            })?;
        let absolute = settings.absolute.as_deref().unwrap_or("0");
        let absolute =
            Decimal::parse(absolute).and_then(|absolute| absolute.units(decimals)).ok_or_else(|| {
                SettingsError(format!(
                    "absolute is a decimal, with at most {decimals} digits behind the point"
                ))
            })?;
        Ok(Self { parts, whole: 100 * one, absolute })
    }

    /// Maximum distance from `open`, base units.
    fn from(&self, open: u128) -> u128 {
        // Equals `open * parts / whole`, whose product may be more than 128 bits hold.
        let share = open / self.whole * self.parts + open % self.whole * self.parts / self.whole;
        share.max(self.absolute)
    }
}

fn decide(
    transfer: &Transfer,
    candidates: &[Candidate],
    context: &Context,
) -> Result<Decision, SettingsError> {
    let tolerance = Tolerance::of(&hook::settings(&context.settings)?, context.decimals)?;
    let amount = transfer.amount.map_or(0, u128::from);
    if amount == 0 {
        return Ok(Decision::Pass);
    }
    let mut near: Vec<_> = (0u32..)
        .zip(candidates)
        .map(|(index, candidate)| (index, open(candidate)))
        .filter(|(_, open)| *open > 0 && amount.abs_diff(*open) <= tolerance.from(*open))
        .map(|(index, open)| (amount.abs_diff(open), index))
        .collect();
    near.sort_unstable();
    Ok(match near.as_slice() {
        [] => Decision::Pass,
        [(_, only)] => Decision::Pay(*only),
        [(closest, index), (next, _), ..] if closest < next => Decision::Pay(*index),
        [(closest, _), ..] => {
            let alike = near.iter().filter(|(distance, _)| distance == closest).count();
            Decision::Review(format!("{alike} open invoices are equally close to the amount"))
        }
    })
}

/// Amount that the invoice still waits for, base units.
fn open(candidate: &Candidate) -> u128 {
    u128::from(candidate.due).saturating_sub(candidate.received.into())
}
