//! Hexadecimal text of JSON-RPC: `DATA` has two digits a byte, `QUANTITY` is a number.

/// A 32-byte hash.
pub(crate) type Hash = [u8; 32];
/// A 20-byte address.
pub(crate) type Key = [u8; 20];

/// Reads exactly `N` bytes after `0x`.
pub(crate) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    let mut out = [0; N];
    // One check at the end instead of a branch a digit: blocks are full of hexadecimal digits.
    let mut seen = 0;
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (seen & NO_DIGIT == 0).then_some(out)
}

const NO_DIGIT: u8 = 0x80;

/// Value of each character as a digit, or [`NO_DIGIT`].
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Reads a quantity of at most 64 bits. Leading zeros are allowed, since some nodes send them.
pub(crate) fn quantity(text: &str) -> Option<u64> {
    u64::try_from(big_quantity(text)??).ok()
}

/// Reads a quantity of at most 256 bits. `Some(None)` if it has more than 128.
pub(crate) fn big_quantity(text: &str) -> Option<Option<u128>> {
    let digits = text.strip_prefix("0x")?;
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    match digits.len() {
        0 => Some(Some(0)),
        1..=32 => u128::from_str_radix(digits, 16).ok().map(Some),
        _ => Some(None),
    }
}

/// A 32-byte word as an amount. `None` if it has more than 128 bits.
pub(crate) fn word_amount(word: &Hash) -> Option<u128> {
    let (high, low) = word.split_at(16);
    if high.iter().any(|byte| *byte != 0) {
        return None;
    }
    low.try_into().ok().map(u128::from_be_bytes)
}

/// The address in a 32-byte word. `None` unless its first twelve bytes are zero.
pub(crate) fn word_key(word: &Hash) -> Option<Key> {
    let (padding, key) = word.split_at(12);
    if padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    key.try_into().ok()
}

/// Writes `0x` and lower-case digits.
pub(crate) fn text(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len().saturating_mul(2).saturating_add(2));
    out.push_str("0x");
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_exactly_its_length() {
        assert_eq!(bytes::<2>("0x0aFf"), Some([10, 255]));
        for wrong in ["", "0x", "0x0af", "0x0aff0", "0aff", "0x0agf", "0X0aff", "0x+aff", "0x\u{e9}\u{e9}"] {
            assert_eq!(bytes::<2>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn quantities_are_numbers_of_a_known_size() {
        assert_eq!(quantity("0x0"), Some(0));
        assert_eq!(quantity("0x0010"), Some(16));
        assert_eq!(quantity("0xffffffffffffffff"), Some(u64::MAX));
        for wrong in ["", "0x", "10", "0x10000000000000000", "0x-1", "0x+1", "-0x1", "0x 1", "0x1.5"] {
            assert_eq!(quantity(wrong), None, "{wrong}");
        }
        assert_eq!(big_quantity(&format!("0x{}", "f".repeat(32))), Some(Some(u128::MAX)));
        assert_eq!(big_quantity(&format!("0x{}", "f".repeat(33))), Some(None));
        assert_eq!(big_quantity(&format!("0x{}", "0".repeat(65))), None);
    }

    #[test]
    fn words_hold_addresses_and_amounts() {
        let mut word = [0; 32];
        word[31] = 7;
        assert_eq!(word_amount(&word), Some(7));
        assert_eq!(word_key(&word).unwrap()[19], 7);
        word[11] = 1;
        assert_eq!(word_amount(&word), None);
        assert_eq!(word_key(&word), None);
        assert_eq!(text(&[0, 0xab]), "0x00ab");
    }
}
