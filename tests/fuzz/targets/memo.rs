//! Memos of TRON and comments of TON: what is text is the payer's text, unchanged and of bounded length.
#![no_main]

use kassa_chain_ton::fuzzing as ton;
use kassa_chain_tron::fuzzing as tron;
use kassa_sdk::types::Memo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match tron::memo(data) {
        Memo::None => assert!(data.is_empty()),
        Memo::Text(text) => {
            assert_eq!(text.as_bytes(), data);
            assert!(text.len() <= 1_024 && !text.chars().any(char::is_control));
        }
        Memo::Unreadable(why) => assert!(why.len() < 100),
    }
    let Some((chunk, text)) = data.split_first() else { return };
    // Long texts in tiny pieces are deeper than a bag of cells may be.
    let chunk = usize::from(chunk % 123) + 1;
    if text.len() / chunk > 1_000 {
        return;
    }
    let bag = ton::written_comment(text, chunk);
    same(text, ton::body_memo(&bag).expect("a comment"));
    for by_ref in [false, true] {
        let chunk = chunk.min(if by_ref { 123 } else { 30 });
        if text.len() / chunk > 1_000 {
            return;
        }
        let bag = ton::written_credit(7, text, chunk, by_ref);
        let (amount, memo) = ton::credit(&bag).expect("a credit");
        assert_eq!(amount, 7);
        same(text, memo);
    }
});

fn same(written: &[u8], memo: Memo) {
    match memo {
        Memo::None => assert!(written.is_empty()),
        Memo::Text(text) => {
            assert_eq!(text.as_bytes(), written);
            assert!(!written.is_empty() && written.len() <= 4_096);
        }
        Memo::Unreadable(why) => {
            let is_text = std::str::from_utf8(written).is_ok() && written.first() != Some(&0xff);
            assert!(!is_text || written.len() > 4_096, "{why}");
        }
    }
}
