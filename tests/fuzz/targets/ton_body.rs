//! Bodies of messages: comments, credits of jetton wallets and their forwarded payloads, of any shape.
#![no_main]

use kassa_chain_ton::fuzzing as ton;
use kassa_fuzz::input::Input;
use kassa_sdk::types::Memo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.pick(3) {
        0 => read(input.rest()),
        1 => read(&ton::written_body(&mut |below| input.pick(below))),
        // A single cell of the input's bits.
        _ => {
            let data = input.bytes(127);
            let mut bag = vec![0xb5, 0xee, 0x9c, 0x72, 1, 1, 1, 1, 0, data.len() as u8 + 2, 0, 0];
            bag.push((data.len() * 2) as u8 - u8::from(input.pick(2) == 1 && !data.is_empty()));
            bag.extend(data);
            read(&bag);
        }
    }
});

fn read(bag: &[u8]) {
    for memo in [ton::body_memo(bag), ton::credit(bag).map(|(_, memo)| memo)].into_iter().flatten() {
        match memo {
            Memo::None => {}
            Memo::Text(text) => assert!(!text.is_empty() && text.len() <= 4_096),
            Memo::Unreadable(why) => assert!(why.len() < 100),
        }
    }
}
