//! Amounts cross the boundary as four words; plugins count in `u128`.

use crate::types::Amount;

impl From<u128> for Amount {
    fn from(value: u128) -> Self {
        // The bytes of a u128 are four words of four bytes.
        let bytes = value.to_be_bytes();
        let word = |index: usize| {
            u32::from_be_bytes([bytes[index], bytes[index + 1], bytes[index + 2], bytes[index + 3]])
        };
        Self { w3: word(0), w2: word(4), w1: word(8), w0: word(12) }
    }
}

impl From<Amount> for u128 {
    fn from(amount: Amount) -> Self {
        [amount.w3, amount.w2, amount.w1, amount.w0]
            .iter()
            .fold(0, |value, word| value << 32 | Self::from(*word))
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
        assert_eq!(
            Amount::from((7 << 96) | (8 << 64) | (9 << 32) | 10),
            Amount { w3: 7, w2: 8, w1: 9, w0: 10 }
        );
    }
}
