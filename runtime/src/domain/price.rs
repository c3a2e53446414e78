//! Prices: what an asset costs in a currency, and how much of it an invoice asks for.

use super::{Millis, money::Amount};

/// Maximum age of a price, milliseconds.
const AGE_MAX: Millis = 10 * 60_000;
/// Maximum time by which the source's clock may be ahead, milliseconds.
const AHEAD_MAX: Millis = 60_000;
/// Maximum number of digits behind the point; more say nothing.
const SCALE_MAX: u8 = 18;

/// Maximum factor by which a price changes within [`STEADY_MS`]. A larger jump is a mistake in a unit, not a market.
const STEADY_FACTOR: u128 = 5;
/// Time for which the next price is compared with this one, milliseconds.
pub const STEADY_MS: Millis = 60 * 60_000;

/// A price: one whole unit of the asset costs `mantissa / 10^scale` of the currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub mantissa: u64,
    pub scale: u8,
    /// Time of the price, by its source.
    pub at: Millis,
}

/// Reason that a price cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error("its price is zero")]
    Zero,
    #[error("its price has more than {SCALE_MAX} digits behind the point")]
    TooFine,
    #[error("its price is older than {} minutes", AGE_MAX / 60_000)]
    Old,
    #[error("its price is from the future")]
    Ahead,
    #[error(
        "its price is over {STEADY_FACTOR} times off the last one; if it is right, it is taken {} minutes after that",
        STEADY_MS / 60_000
    )]
    Jumped,
    #[error("the amount is larger than this system can count")]
    TooLarge,
}

impl Price {
    pub fn check(&self, now: Millis) -> Result<(), PriceError> {
        match self {
            Self { mantissa: 0, .. } => Err(PriceError::Zero),
            Self { scale, .. } if *scale > SCALE_MAX => Err(PriceError::TooFine),
            Self { at, .. } if *at < now - AGE_MAX => Err(PriceError::Old),
            Self { at, .. } if *at > now + AHEAD_MAX => Err(PriceError::Ahead),
            Self { .. } => Ok(()),
        }
    }

    /// Errors if the price is too far off one that was good a short while ago.
    pub fn follows(&self, last: &Self) -> Result<(), PriceError> {
        // Both as multiples of the same unit; a mantissa of 64 bits times 10^18 fits.
        let shown = |price: &Self, by: u8| u128::from(price.mantissa) * 10u128.pow(by.min(SCALE_MAX).into());
        let (now, before) = (shown(self, last.scale), shown(last, self.scale));
        let within = |one: u128, other: u128| one / STEADY_FACTOR <= other;
        if within(now, before) && within(before, now) { Ok(()) } else { Err(PriceError::Jumped) }
    }

    /// The amount that `cost` (in units of `10^-cost_scale` of the currency) is worth, rounded up to `shown_decimals`
    /// of the asset's `decimals`: a seller never gets less than the price.
    pub fn amount(
        &self,
        cost: u128,
        cost_scale: u8,
        decimals: u8,
        shown_decimals: u8,
    ) -> Result<Amount, PriceError> {
        let shown_decimals = shown_decimals.min(decimals);
        // cost / 10^cost_scale / (mantissa / 10^scale) * 10^shown_decimals, with the powers of ten on one side.
        let up = u32::from(self.scale) + u32::from(shown_decimals);
        let power = |exponent: u32| 10u128.checked_pow(exponent).ok_or(PriceError::TooLarge);
        let (above, below) =
            (power(up.saturating_sub(cost_scale.into()))?, power(u32::from(cost_scale).saturating_sub(up))?);
        let above = cost.checked_mul(above).ok_or(PriceError::TooLarge)?;
        let below = u128::from(self.mantissa).checked_mul(below).ok_or(PriceError::TooLarge)?;
        if below == 0 {
            return Err(PriceError::Zero);
        }
        let shown = above.div_ceil(below);
        let unit = power(u32::from(decimals - shown_decimals))?;
        shown.checked_mul(unit).map(Amount).ok_or(PriceError::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = 1_800_000_000_000;

    fn price(mantissa: u64, scale: u8) -> Price {
        Price { mantissa, scale, at: NOW }
    }

    #[test]
    fn amounts_are_rounded_up_to_what_can_be_typed() {
        // 10 dollars at 0.25 are 40 TRX.
        assert_eq!(price(25, 2).amount(1000, 2, 6, 6), Ok(Amount(40_000_000)));
        // 10 dollars at 3 are 3.333334, and 4 with no decimals.
        assert_eq!(price(3, 0).amount(10, 0, 6, 6), Ok(Amount(3_333_334)));
        assert_eq!(price(3, 0).amount(10, 0, 6, 0), Ok(Amount(4_000_000)));
        // 0.01 dollars of a coin with 18 decimals at 3,912.50: 0.00000256 in 8 decimals.
        assert_eq!(price(391_250, 2).amount(1, 2, 18, 8), Ok(Amount(2_560_000_000_000)));
        // Finer costs than amounts.
        assert_eq!(price(1, 0).amount(15, 1, 0, 0), Ok(Amount(2)));
        assert_eq!(price(1, 18).amount(u128::MAX, 0, 18, 18), Err(PriceError::TooLarge));
    }

    #[test]
    fn a_price_that_jumps_is_a_mistake() {
        let last = price(391_250, 2);
        for good in [price(391_250, 2), price(3_912, 0), price(1_000, 0), price(19_000, 0)] {
            assert_eq!(good.follows(&last), Ok(()), "{good:?}");
        }
        for off in [price(391_250, 5), price(391_250_000, 2), price(600, 0), price(20_000, 0), price(1, 18)] {
            assert_eq!(off.follows(&last), Err(PriceError::Jumped), "{off:?}");
        }
        assert_eq!(price(u64::MAX, 18).follows(&price(u64::MAX, 18)), Ok(()));
    }

    #[test]
    fn odd_prices_are_refused() {
        assert_eq!(price(1, 0).check(NOW), Ok(()));
        assert_eq!(price(0, 0).check(NOW), Err(PriceError::Zero));
        assert_eq!(price(1, 19).check(NOW), Err(PriceError::TooFine));
        assert_eq!(price(1, 0).check(NOW + AGE_MAX + 1), Err(PriceError::Old));
        assert_eq!(price(1, 0).check(NOW - AHEAD_MAX - 1), Err(PriceError::Ahead));
    }

    proptest! {
        #[test]
        fn never_less_than_asked_for_and_hardly_more(
            cost in 1u128..1_000_000_000, cost_scale in 0u8..=6, mantissa in 1u64..1_000_000_000, scale in 0u8..=8,
        ) {
            let (decimals, shown_decimals) = (18u8, 8u8);
            let amount = price(mantissa, scale).amount(cost, cost_scale, decimals, shown_decimals).unwrap();
            let unit = 10u128.pow(u32::from(decimals - shown_decimals));
            prop_assert_eq!(amount.0 % unit, 0);
            // shown * mantissa / 10^scale / 10^shown_decimals >= cost / 10^cost_scale, and one unit less would not be.
            let worth = |shown: u128| shown * u128::from(mantissa) * 10u128.pow(u32::from(cost_scale));
            let asked = cost * 10u128.pow(u32::from(scale) + u32::from(shown_decimals));
            let shown = amount.0 / unit;
            prop_assert!(worth(shown) >= asked && worth(shown - 1) < asked);
        }
    }
}
