//! The signed bytes of TRON's transactions: any bytes, any `raw_data_hex`, and payments that are written and
//! read back, whole and with bytes changed.
#![no_main]

use kassa_chain_tron::fuzzing as tron;
use kassa_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.pick(3) {
        0 => read(input.rest()),
        1 => {
            let (id, text) = (input.array(), input.text());
            if let Ok(memo) = tron::transaction_hex(&text, &id) {
                assert!(memo.len() <= text.len() / 2);
            }
        }
        _ => {
            let (mut raw, paid, memo) = tron::payment(&mut |below| input.pick(below));
            assert_eq!(tron::transaction(&raw).expect("a transaction"), (paid, memo));
            for _ in 0..1 + input.byte() % 8 {
                let offset = input.number() % (raw.len() + 1);
                match input.byte() % 3 {
                    0 => raw.insert(offset, input.byte()),
                    1 if offset < raw.len() => raw[offset] = input.byte(),
                    _ => raw.truncate(offset),
                }
            }
            read(&raw);
        }
    }
});

fn read(raw: &[u8]) {
    if let Ok((_, memo)) = tron::transaction(raw) {
        assert!(memo.len() <= raw.len());
    }
}
