//! Accounts and their written forms (<https://docs.ton.org/foundations/addresses/formats>).
//!
//! The raw form is the workchain and 64 hexadecimal digits. The user-friendly form is base64 of 36 bytes: a tag, the
//! workchain, the hash, and CRC-16/XMODEM of those. Tags: 0x11 asks senders to have the money bounced if the contract
//! fails, 0x51 not to; 0x80 on top says that the address is for a testnet.

use crate::base64;
use kassa_sdk::chain::{Address, AddressError};
use kassa_sdk::upstream::clean;

pub(crate) type Hash = [u8; 32];

/// Length of [`Account::key`], bytes.
pub(crate) const KEY_LEN: usize = 33;

const BOUNCEABLE: u8 = 0x11;
const NON_BOUNCEABLE: u8 = 0x51;
const TESTNET: u8 = 0x80;

/// An account of the masterchain (-1) or the basechain (0); there are no other workchains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Account {
    pub(crate) workchain: i8,
    pub(crate) hash: Hash,
}

impl Account {
    pub(crate) fn new(workchain: i8, hash: Hash) -> Option<Self> {
        matches!(workchain, -1 | 0).then_some(Self { workchain, hash })
    }

    pub(crate) fn key(&self) -> [u8; KEY_LEN] {
        let mut key = [0; KEY_LEN];
        let [workchain, hash @ ..] = &mut key;
        [*workchain] = self.workchain.to_be_bytes();
        *hash = self.hash;
        key
    }

    pub(crate) fn of_key(key: &[u8]) -> Option<Self> {
        let (workchain, hash) = key.split_first()?;
        Self::new(i8::from_be_bytes([*workchain]), hash.try_into().ok()?)
    }

    /// The raw form (`0:…`), as the API writes it.
    pub(crate) fn raw(&self) -> String {
        format!("{}:{}", self.workchain, hex(&self.hash).to_ascii_uppercase())
    }

    /// Reads the raw form, in either case.
    pub(crate) fn of_raw(text: &str) -> Option<Self> {
        let (workchain, digits) = text.split_once(':')?;
        let workchain = match workchain {
            "0" => 0,
            "-1" => -1,
            _ => return None,
        };
        Self::new(workchain, unhex(digits)?)
    }

    /// The form that payers see. It has no bounce flag, because a wallet that does not exist yet is only paid without
    /// it.
    pub(crate) fn show(&self, is_testnet: bool) -> String {
        let tag = if is_testnet { NON_BOUNCEABLE | TESTNET } else { NON_BOUNCEABLE };
        let mut bytes = Vec::with_capacity(36);
        bytes.push(tag);
        bytes.extend(self.key());
        bytes.extend(crc16(&bytes).to_be_bytes());
        base64::encode_url_safe(&bytes)
    }

    /// Reads any form. A testnet takes addresses without its flag too, since its wallets write both.
    pub(crate) fn parse(text: &str, is_testnet: bool) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.contains(':') {
            let why = "a raw address is 0: or -1: and 64 hexadecimal digits";
            return Self::of_raw(text).ok_or_else(|| AddressError::Malformed(why.into()));
        }
        let bytes = Some(text).filter(|text| text.len() == 48).and_then(base64::decode);
        let Some((body, crc)) = bytes.as_deref().and_then(|bytes| bytes.split_last_chunk::<2>()) else {
            let why = "an address is 48 characters of base64, or 0: and 64 hexadecimal digits";
            return Err(AddressError::Malformed(why.into()));
        };
        if crc16(body).to_be_bytes() != *crc {
            return Err(AddressError::Checksum);
        }
        let (tag, key) = body.split_first().unwrap_or((&0, &[]));
        if !matches!(tag & !TESTNET, BOUNCEABLE | NON_BOUNCEABLE) {
            return Err(AddressError::Malformed(format!("unknown tag 0x{tag:02x}")));
        }
        if tag & TESTNET != 0 && !is_testnet {
            return Err(AddressError::WrongNetwork("an address for a testnet".into()));
        }
        Self::of_key(key).ok_or_else(|| AddressError::Malformed("neither of workchain 0 nor of -1".into()))
    }
}

pub(crate) fn normalize(text: &str, is_testnet: bool) -> Result<Address, AddressError> {
    let account = Account::parse(text, is_testnet)?;
    Ok(Address { text: account.show(is_testnet), key: account.key().to_vec(), more: Vec::new() })
}

/// Text of an address error.
pub(crate) fn why(error: &AddressError) -> String {
    match error {
        AddressError::Malformed(why) | AddressError::WrongNetwork(why) | AddressError::Other(why) => {
            clean(why)
        }
        AddressError::Checksum => "wrong checksum".into(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit))).collect()
}

pub(crate) fn unhex(digits: &str) -> Option<Hash> {
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = (value(*high)? << 4) | value(*low)?;
    }
    Some(hash)
}

pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // From https://docs.ton.org.
    const RAW: &str = "0:ca6e321c7cce9ecedf0a8ca2492ec8592494aa5fb5ce0387dff96ef6af982a3e";
    const BOUNCEABLE: &str = "EQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPrHF";
    const SHOWN: &str = "UQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPuwA";
    const TEST_BOUNCEABLE: &str = "kQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPgpP";
    const TEST_SHOWN: &str = "0QDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPleK";

    #[test]
    fn every_writing_has_one_normal_form() {
        let standard = BOUNCEABLE.replace('-', "+").replace('_', "/");
        for writing in [RAW, BOUNCEABLE, SHOWN, &standard, &RAW.to_uppercase(), &format!(" {SHOWN}\n")] {
            let address = normalize(writing, false).unwrap();
            assert_eq!((address.text.as_str(), address.key.len()), (SHOWN, 33), "{writing}");
            assert_eq!(normalize(writing, true).unwrap().text, TEST_SHOWN);
        }
        for writing in [TEST_SHOWN, TEST_BOUNCEABLE] {
            assert_eq!(normalize(writing, true).unwrap().text, TEST_SHOWN);
            assert!(matches!(normalize(writing, false), Err(AddressError::WrongNetwork(_))));
        }
    }

    #[test]
    fn the_masterchain_has_addresses_too() {
        let elector = format!("-1:{}", "3".repeat(64));
        let shown = normalize(&elector, false).unwrap();
        assert_eq!(shown.key[0], 255);
        assert_eq!(Account::parse(&shown.text, false).unwrap().raw(), elector);
    }

    #[test]
    fn a_known_master() {
        let usdt = Account::parse("EQCxE6mUtQJKFnGfaROTKOt1lZbDiiX1kCixRv7Nw2Id_sDs", false).unwrap();
        assert_eq!(usdt.raw(), "0:B113A994B5024A16719F69139328EB759596C38A25F59028B146FECDC3621DFE");
    }

    #[test]
    fn any_changed_character_is_noticed() {
        for index in 0..48 {
            for other in ["A", "b", "7", "_", "\u{e9}", "!"] {
                let mut wrong = SHOWN.to_owned();
                wrong.replace_range(index..=index, other);
                assert!(wrong == SHOWN || Account::parse(&wrong, false).is_err(), "{wrong}");
            }
        }
        assert_eq!(normalize(&SHOWN.replace("UQD", "UQE"), false), Err(AddressError::Checksum));
    }

    #[test]
    fn what_is_no_address() {
        let other_chain = RAW.replacen('0', "1", 1);
        let long = format!("{RAW}0");
        let sign = RAW.replacen('0', "+0", 1);
        for wrong in [
            "",
            ":",
            "0:",
            "0:zz",
            "vitalik.eth",
            &SHOWN[1..],
            &other_chain,
            &long,
            &sign,
            &RAW[1..],
            &RAW[2..],
        ] {
            assert!(matches!(normalize(wrong, false), Err(AddressError::Malformed(_))), "{wrong}");
        }
        // Well-formed otherwise, with a tag and with a workchain that do not exist.
        for (tag, workchain) in [(0x12, 0), (NON_BOUNCEABLE, 5)] {
            let mut bytes = vec![tag, workchain];
            bytes.extend([9; 32]);
            bytes.extend(crc16(&bytes).to_be_bytes());
            let wrong = base64::encode(&bytes);
            assert!(matches!(normalize(&wrong, false), Err(AddressError::Malformed(_))), "{wrong}");
        }
    }
}
