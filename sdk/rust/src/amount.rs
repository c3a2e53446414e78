//! Amounts cross the boundary as two words; plugins count in `u128`.

use crate::types::Amount;

impl From<u128> for Amount {
    fn from(value: u128) -> Self {
        let [a, b, c, d, e, f, g, h, low @ ..] = value.to_be_bytes();
        Self { high: u64::from_be_bytes([a, b, c, d, e, f, g, h]), low: u64::from_be_bytes(low) }
    }
}

impl From<Amount> for u128 {
    fn from(amount: Amount) -> Self {
        (Self::from(amount.high) << 64) | Self::from(amount.low)
    }
}

impl From<&Amount> for u128 {
    fn from(amount: &Amount) -> Self {
        Self::from(*amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_both_ways() {
        for value in [0, 1, u128::from(u64::MAX), u128::from(u64::MAX) + 1, 1 << 127, u128::MAX] {
            assert_eq!(u128::from(Amount::from(value)), value);
        }
        assert_eq!(Amount::from((7 << 64) | 9), Amount { high: 7, low: 9 });
    }
}
