//! Base64 in both alphabets. Addresses are written in either; hashes and cells come in the standard one.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const NO_DIGIT: u8 = 0x80;

/// Value of each character, in whichever alphabet has it, or [`NO_DIGIT`].
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 64 {
        values[STANDARD[value as usize] as usize] = value;
        values[URL_SAFE[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Decodes `text` in either alphabet. Padding may be left out; bits left over have to be zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let padded = text.as_bytes();
    let digits = padded.strip_suffix(b"==").or_else(|| padded.strip_suffix(b"=")).unwrap_or(padded);
    if digits.len() % 4 == 1 || (digits.len() != padded.len() && !padded.len().is_multiple_of(4)) {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    let mut seen = 0;
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for index in 0..4 {
            let value = group.get(index).map_or(0, |digit| VALUES[usize::from(*digit)]);
            seen |= value;
            bits = (bits << 6) | u32::from(value & 63);
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (whole, rest) = bytes.split_at(group.len().saturating_sub(1).min(3));
        out.extend_from_slice(whole);
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
    }
    (seen & NO_DIGIT == 0).then_some(out)
}

/// Decodes the 32 bytes of a hash.
pub(crate) fn hash(text: &str) -> Option<[u8; 32]> {
    if text.len() > 44 {
        return None;
    }
    decode(text)?.try_into().ok()
}

/// Encodes bytes in the standard alphabet, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    write(bytes, STANDARD)
}

/// Encodes bytes in the alphabet for links, padded.
pub(crate) fn encode_url_safe(bytes: &[u8]) -> String {
    write(bytes, URL_SAFE)
}

fn write(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from((bits >> shift) & 63).ok().and_then(|value| alphabet.get(value));
            let digit = digit.filter(|_| index <= group.len()).copied().unwrap_or(b'=');
            out.push(char::from(digit));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_both_ways() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (&[0xfb, 0xff, 0xfe], "+//+"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).unwrap(), bytes);
            assert_eq!(decode(text.trim_end_matches('=')).unwrap(), bytes);
        }
        assert_eq!(encode_url_safe(&[0xfb, 0xff, 0xfe]), "-__-");
        assert_eq!(decode("-_/+").unwrap(), decode("+//+").unwrap());
    }

    #[test]
    fn what_is_no_base64() {
        for wrong in
            ["A", "AAAAA", "Zg=", "Zm9v=", "Zm9v====", "Zg==Zg==", "Zh==", "Z g=", "\u{e9}AA", "Zm\n="]
        {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(hash(&encode(&[7; 32])), Some([7; 32]));
        assert_eq!(hash(&encode(&[7; 31])), None);
        assert_eq!(hash(&encode(&[7; 33])), None);
    }
}
