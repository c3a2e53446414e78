//! What a payer attached: `raw_data.data`, bytes that most wallets fill with text.

use kassa_sdk::types::Memo;

/// Maximum length of a memo, bytes. A longer one is not the number of an invoice, and many long ones would not fit into
/// a call's result.
const BYTES_MAX: usize = 1_024;

pub(crate) fn read(data: &[u8]) -> Memo {
    if data.is_empty() {
        return Memo::None;
    }
    if data.len() > BYTES_MAX {
        return Memo::Unreadable(format!("{} bytes, more than {BYTES_MAX}", data.len()));
    }
    match std::str::from_utf8(data) {
        Ok(text) if text.chars().any(char::is_control) => Memo::Unreadable("control characters".into()),
        Ok(text) => Memo::Text(text.into()),
        Err(_) => Memo::Unreadable("not text".into()),
    }
}
