//! What a merchant wants done with payments that are not exactly what was asked for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{money::Amount, network::Asset};

/// Kept with each invoice as it was when the invoice was made: a later change does not reach back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How much may be missing, in parts per 10,000 of what is due, for an invoice to count as paid all the
    /// same. Exchanges take their fee from the typed amount. Where payments are told apart by their amount, what is
    /// missing has to leave the digits of the suffix, as a fee of whole cents does; an invoice that is too small for
    /// that is refused.
    #[schema(maximum = 5000, example = 0)]
    pub under_tolerance_bp: u16,
    /// Surplus up to which the invoice does not count as overpaid.
    #[schema(maximum = 10000, example = 0)]
    pub over_tolerance_bp: u16,
    /// A payment after the deadline, while it can still be told apart.
    pub late: Late,
    /// Seconds after the deadline for which a payment is still told apart (and its amount given to no one else).
    #[schema(maximum = 2_592_000, minimum = 3600, example = 86400)]
    pub late_window_s: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LatePolicy)]
pub enum Late {
    /// The payment pays the invoice, which is marked `late`.
    Accept,
    /// A person decides: the transfer is listed and the invoice goes to `manual_review`.
    Review,
}

/// A day, seconds: payers' wallets and exchanges hold payments back for hours, hardly ever longer.
const LATE_WINDOW_S: u32 = 24 * 3600;

impl Default for Policy {
    fn default() -> Self {
        Self { under_tolerance_bp: 0, over_tolerance_bp: 0, late: Late::Accept, late_window_s: LATE_WINDOW_S }
    }
}

impl Policy {
    /// Amount that may be missing of `due`, base units.
    #[must_use]
    pub fn tolerated(&self, due: Amount) -> Amount {
        due.share(self.under_tolerance_bp)
    }

    /// False if a tolerance is set that cannot take effect where payments are told apart by amount: below the suffix's
    /// step, an amount that is missing changes the suffix's digits.
    #[must_use]
    pub fn works_by_amount(&self, price: Amount, asset: &Asset) -> bool {
        let step = asset.unique.and_then(|unique| unique.step(asset.decimals));
        self.under_tolerance_bp == 0 || step.is_some_and(|step| self.tolerated(price).0 >= step)
    }

    /// Checks the ranges. The error says what is out of range.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.under_tolerance_bp > 5000 {
            return Err("under_tolerance_bp is at most 5000 (half)");
        }
        if self.over_tolerance_bp > 10_000 {
            return Err("over_tolerance_bp is at most 10000 (as much again)");
        }
        if !(3600..=30 * 24 * 3600).contains(&self.late_window_s) {
            return Err("late_window_s is from 3600 (an hour) to 2592000 (30 days)");
        }
        Ok(())
    }
}
