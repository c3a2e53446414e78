//! The signed bytes of a transaction, which prove what its JSON only says: their SHA-256 is its id.
//!
//! They are protobuf (<https://developers.google.com/protocol-buffers/docs/encoding>, `Tron.proto` of
//! java-tron). What is inside the contract's parameter is as the payer wrote it, so it may be encoded oddly:
//! it is read as the node reads it (the last value of a field counts, unknown fields and wrong wire types
//! are passed over), or a payer could bring the two readings apart and stop the scan.

use crate::address::key_of;
use crate::wire::{Content, Hash, Payment};
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::malformed;
use sha2::{Digest, Sha256};

/// Field numbers of `Transaction.raw`.
const RAW_DATA: u32 = 10;
const RAW_CONTRACT: u32 = 11;
/// Field numbers of `Transaction.Contract` and of the `Any` in it.
const CONTRACT_TYPE: u32 = 1;
const CONTRACT_PARAMETER: u32 = 2;
const ANY_VALUE: u32 = 2;
/// Field numbers of `TransferContract` and, alike, of `TriggerSmartContract`.
const OWNER: u32 = 1;
const RECIPIENT: u32 = 2;
const AMOUNT: u32 = 3;
/// `ContractType`.
const TRANSFER: u64 = 1;
const CALL: u64 = 31;

/// Reads the content of a transaction from its signed bytes. Errors if their hash is not `id`.
pub(crate) fn content(raw_data_hex: &str, id: &Hash) -> Result<Content, ScanError> {
    let raw = hex::decode(raw_data_hex).map_err(|_| malformed("raw_data_hex is not hexadecimal"))?;
    if Sha256::digest(&raw)[..] != id[..] {
        return Err(malformed("raw_data_hex is not of this transaction"));
    }
    read(&raw).ok_or_else(|| malformed("raw_data_hex is not a transaction"))
}

fn read(raw: &[u8]) -> Option<Content> {
    let (mut memo, mut contract): (&[u8], &[u8]) = (&[], &[]);
    each_field(raw, |number, value| match (number, value) {
        (RAW_DATA, Value::Bytes(bytes)) => memo = bytes,
        (RAW_CONTRACT, Value::Bytes(bytes)) => contract = bytes,
        _ => {}
    })?;
    let (mut kind, mut parameter): (u64, &[u8]) = (0, &[]);
    each_field(contract, |number, value| match (number, value) {
        (CONTRACT_TYPE, Value::Number(number)) => kind = number,
        (CONTRACT_PARAMETER, Value::Bytes(bytes)) => parameter = bytes,
        _ => {}
    })?;
    let payment = match kind {
        TRANSFER | CALL => payment(parameter)?.filter(|payment| kind == TRANSFER || payment.amount > 0),
        _ => None,
    };
    Some(Content { payment, memo: memo.to_vec() })
}

/// Reads the payment of a contract's parameter. `None` if it is malformed; the inner `Option` is `None` if it has a
/// malformed address.
fn payment(parameter: &[u8]) -> Option<Option<Payment>> {
    let mut message: &[u8] = &[];
    each_field(parameter, |number, value| {
        if let (ANY_VALUE, Value::Bytes(bytes)) = (number, value) {
            message = bytes;
        }
    })?;
    let (mut from, mut to): (&[u8], &[u8]) = (&[], &[]);
    let mut amount = 0;
    each_field(message, |number, value| match (number, value) {
        (OWNER, Value::Bytes(bytes)) => from = bytes,
        (RECIPIENT, Value::Bytes(bytes)) => to = bytes,
        (AMOUNT, Value::Number(number)) => amount = number,
        _ => {}
    })?;
    Some(key_of(from).zip(key_of(to)).map(|(from, to)| Payment { from, to, amount }))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Calls `see` with each field of a message. `None` if the bytes are not a message.
fn each_field<'a>(mut rest: &'a [u8], mut see: impl FnMut(u32, Value<'a>)) -> Option<()> {
    // Fields inside a group (an old form of message) are not fields of the message.
    let mut depth = 0u32;
    while !rest.is_empty() {
        let tag = u32::try_from(varint(&mut rest)? & u64::from(u32::MAX)).ok()?;
        let value = match tag & 7 {
            0 => Some(Value::Number(varint(&mut rest)?)),
            1 => skip(&mut rest, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Some(Value::Bytes(rest.split_off(..length)?))
            }
            3 => {
                depth = depth.checked_add(1)?;
                None
            }
            4 => {
                depth = depth.checked_sub(1)?;
                None
            }
            5 => skip(&mut rest, 4)?,
            _ => return None,
        };
        if let (Some(value), 0) = (value, depth) {
            see(tag >> 3, value);
        }
    }
    (depth == 0).then_some(())
}

fn skip<'a>(rest: &mut &[u8], length: usize) -> Option<Option<Value<'a>>> {
    rest.split_off(..length).map(|_| None)
}

/// Reads up to ten bytes of seven bits each, the lowest first. Bits beyond 64 are dropped.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Option<u64> {
        let mut rest = bytes;
        varint(&mut rest).filter(|_| rest.is_empty())
    }

    #[test]
    fn varints() {
        assert_eq!(number(&[0]), Some(0));
        assert_eq!(number(&[0xac, 0x02]), Some(300));
        assert_eq!(number(&[0x80, 0x80, 0x00]), Some(0));
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(number(&largest), Some(u64::MAX));
        for wrong in [&[][..], &[0x80], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn odd_encodings_are_read_as_the_node_reads_them() {
        let fields = |bytes: &[u8]| {
            let mut seen = Vec::new();
            let whole = each_field(bytes, |number, value| match value {
                Value::Number(value) => seen.push((number, value.to_be_bytes().to_vec())),
                Value::Bytes(bytes) => seen.push((number, bytes.to_vec())),
            });
            whole.map(|()| seen)
        };
        // Fixed-width fields and groups are passed over; fields may come in any order and again.
        let odd = [&[0x19][..], &[9; 8], &[0x1d], &[9; 4], &[0x1b, 0x18, 7, 0x23, 0x24, 0x1c], &[0x12, 1, 5]];
        assert_eq!(fields(&odd.concat()), Some(vec![(2, vec![5])]));
        for wrong in [&[0x12, 2, 5][..], &[0x1b], &[0x1c], &[0x1e], &[0x19, 1], &[0x12]] {
            assert_eq!(fields(wrong), None, "{wrong:?}");
        }
        let endless = [&[0x12][..], &[0xff; 9], &[1]].concat();
        assert_eq!(fields(&endless), None);
    }
}
