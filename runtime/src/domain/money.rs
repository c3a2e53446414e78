//! Amounts: integer base units, decimal text at the edges, never a float.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An unsigned count of an asset's base units. 128 bits hold every real balance of every chain served
/// (18 decimals leave 3.4e20 whole units); what does not fit is refused, never wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub u128);

/// Reason that a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("not a decimal number: write digits with an optional point, as in \"12.50\"")]
    Malformed,
    #[error("has {found} decimals, but the asset has only {allowed}")]
    TooManyDecimals { found: usize, allowed: u8 },
    #[error("is larger than this system can count")]
    TooLarge,
}

/// Number of digits of the largest amount, so that an absurd text is refused before it is read.
const DIGITS_MAX: usize = 39;

impl Amount {
    /// Takes `bp` basis points of the amount, rounded down.
    #[must_use]
    pub fn share(self, bp: u16) -> Self {
        let bp = u128::from(bp);
        Self((self.0 / 10_000).saturating_mul(bp).saturating_add(self.0 % 10_000 * bp / 10_000))
    }

    pub const ZERO: Self = Self(0);

    /// Reads a decimal number of whole units, as `12.5` of an asset with 6 decimals is 12,500,000.
    ///
    /// Only ASCII digits and one point: no sign, exponent, separator or space.
    pub fn from_decimal(text: &str, decimals: u8) -> Result<Self, AmountError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(AmountError::Malformed),
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(AmountError::Malformed);
        }
        if whole.len() + fraction.len() > 2 * DIGITS_MAX {
            return Err(AmountError::TooLarge);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > usize::from(decimals) {
            return Err(AmountError::TooManyDecimals { found: fraction.len(), allowed: decimals });
        }
        let padded = format!("{whole}{fraction:0<width$}", width = usize::from(decimals));
        padded.parse()
    }

    /// Writes whole units with as many decimals as are needed, and at least two where the asset has them: `12.50`,
    /// `0.000001`.
    #[must_use]
    pub fn to_decimal(self, decimals: u8) -> String {
        let decimals = usize::from(decimals);
        let digits = format!("{:0>width$}", self.0, width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        if decimals == 0 {
            return whole.to_owned();
        }
        let shown = fraction.trim_end_matches('0').len().max(decimals.min(2));
        format!("{whole}.{}", &fraction[..shown])
    }

    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// Writes base units, as stored.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads base units.
impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AmountError::Malformed);
        }
        text.parse().map(Self).map_err(|_| AmountError::TooLarge)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_amount() {
        for text in [
            "", ".", "-1", "+1", "1e3", "NaN", "Infinity", "1,5", " 1", "1 ", "1.", ".5", "٣", "0x10",
            "1_000",
        ] {
            assert_eq!(Amount::from_decimal(text, 6), Err(AmountError::Malformed), "{text}");
        }
        assert_eq!(
            Amount::from_decimal("0.1234567", 6),
            Err(AmountError::TooManyDecimals { found: 7, allowed: 6 })
        );
        assert_eq!(Amount::from_decimal(&"9".repeat(40), 0), Err(AmountError::TooLarge));
        assert_eq!(Amount::from_decimal(&"9".repeat(30), 18), Err(AmountError::TooLarge));
    }

    #[test]
    fn trailing_zeros_are_no_decimals() {
        assert_eq!(Amount::from_decimal("1.500000000", 6), Ok(Amount(1_500_000)));
    }

    #[test]
    fn shown_with_at_least_two_decimals() {
        assert_eq!(Amount(12_500_000).to_decimal(6), "12.50");
        assert_eq!(Amount(1).to_decimal(6), "0.000001");
        assert_eq!(Amount(0).to_decimal(18), "0.00");
        assert_eq!(Amount(7).to_decimal(0), "7");
        assert_eq!(Amount(75).to_decimal(1), "7.5");
    }

    proptest! {
        #[test]
        fn decimal_text_round_trips(units in any::<u128>(), decimals in 0u8..=30) {
            let text = Amount(units).to_decimal(decimals);
            prop_assert_eq!(Amount::from_decimal(&text, decimals), Ok(Amount(units)));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}", decimals in 0u8..=30) {
            let _ = Amount::from_decimal(&text, decimals);
        }
    }
}
