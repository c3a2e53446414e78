//! What plugins share for reading upstreams: texts of strangers, `Retry-After`, amounts.
#![no_main]

use kassa_fuzz::input::Input;
use kassa_sdk::types::Amount;
use kassa_sdk::upstream::{clean, retry_after_ms};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let amount = u128::from_be_bytes(input.array());
    let words = Amount::from(amount);
    assert_eq!(u128::from(words), amount);
    assert_eq!((words.w3, words.w0), ((amount >> 96) as u32, amount as u32));
    let text = input.text();
    assert!((1_000..=60_000).contains(&retry_after_ms(Some(&text))));
    let cleaned = clean(&text);
    assert!(cleaned.len() <= 160 && cleaned.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert_eq!(clean(&cleaned), cleaned);
});
