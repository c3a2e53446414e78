//! Shrinks a failing schedule: leaves out what does not matter to the failure.

use crate::{schedule::Schedule, stage::Stage};

/// Maximum number of runs for shrinking.
const RUNS_MAX: usize = 400;

/// The smallest schedule found that fails in the same way.
pub(crate) fn least(stage: &mut Stage, schedule: &Schedule, kind: &str) -> anyhow::Result<Schedule> {
    let mut least = schedule.clone();
    let mut runs = 0;
    let mut chunk = least.turns.len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        let mut smaller = false;
        while from < least.turns.len() && runs < RUNS_MAX {
            let mut tried = least.clone();
            tried.turns.drain(from..(from + chunk).min(least.turns.len()));
            runs += 1;
            if stage.run(&tried, false)?.is_some_and(|wrong| wrong.kind == kind) {
                least = tried;
                smaller = true;
            } else {
                from += chunk;
            }
        }
        chunk = if chunk == 1 && smaller && runs < RUNS_MAX { 1 } else { chunk / 2 };
    }
    Ok(least)
}
