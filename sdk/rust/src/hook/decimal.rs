//! Decimal text, as amounts and percentages are written.

/// Maximum length of the text, bytes. Digits beyond those of 128 bits have no meaning.
const CHARS_MAX: usize = 80;

/// A decimal `digits / 10^scale`, exactly: `12.50` is 125 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// All digits, without the zeros at the end of the fraction.
    pub digits: u128,
    /// Number of digits behind the point.
    pub scale: u32,
}

impl Decimal {
    /// Reads `12`, `12.50` or `0.1`. `None` for everything else: signs, exponents, more than 128 bits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if whole.is_empty() || fraction.is_empty() || text.len() > CHARS_MAX {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = whole.bytes().chain(fraction.bytes()).try_fold(0u128, |digits, byte| {
            let digit = byte.is_ascii_digit().then(|| u128::from(byte - b'0'))?;
            digits.checked_mul(10)?.checked_add(digit)
        })?;
        Some(Self { digits, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// The amount in base units, where one whole unit is `10^decimals`. `None` if it is finer than one base unit, or
    /// has more than 128 bits.
    #[must_use]
    pub fn units(self, decimals: u8) -> Option<u128> {
        let power = u32::from(decimals).checked_sub(self.scale)?;
        self.digits.checked_mul(10u128.checked_pow(power)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, digits, scale) in [
            ("0", 0, 0),
            ("0.00", 0, 0),
            ("12", 12, 0),
            ("12.50", 125, 1),
            ("007.1", 71, 1),
            ("0.000000000000000001", 1, 18),
            ("340282366920938463463374607431768211455", u128::MAX, 0),
            ("340282366920938463463.374607431768211455", u128::MAX, 18),
        ] {
            assert_eq!(Decimal::parse(text), Some(Decimal { digits, scale }), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1.2.3", " 1", "٣", &"0".repeat(81)] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal::parse("340282366920938463463374607431768211456"), None);
    }

    #[test]
    fn base_units_are_whole() {
        let units = |text, decimals| Decimal::parse(text).unwrap().units(decimals);
        assert_eq!(units("12.5", 6), Some(12_500_000));
        assert_eq!(units("12.5", 1), Some(125));
        assert_eq!(units("12.5", 0), None);
        assert_eq!(units("1", 38), Some(10u128.pow(38)));
        assert_eq!(units("4", 38), None);
        assert_eq!(units("1", 255), None);
    }
}
