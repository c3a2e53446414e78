//! `normalize-address` of all plugins: the normal form is its own normal form with the same key, keys have
//! one length, and an address that was made of a key gives that key back.
#![no_main]

use kassa_chain_evm::fuzzing as evm;
use kassa_chain_sandbox::{address as sandbox_address, fuzzing as sandbox};
use kassa_chain_ton::fuzzing as ton;
use kassa_chain_tron::fuzzing as tron;
use kassa_fuzz::input::Input;
use kassa_sdk::chain::{Address, AddressError};
use libfuzzer_sys::fuzz_target;

type Normalize = fn(&str) -> Result<Address, AddressError>;

/// With the length of keys.
const PLUGINS: [(Normalize, usize); 5] = [
    (evm::normalize, 20),
    (tron::normalize, 20),
    (|text| ton::normalize(text, false), 33),
    (|text| ton::normalize(text, true), 33),
    (sandbox::normalize, 16),
];

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.pick(6) {
        0 => {
            let text = input.text();
            for plugin in PLUGINS {
                check(plugin, &text);
            }
        }
        1 => evm_writings(&mut input),
        2 => tron_writings(&mut input),
        3 => ton_writings(&mut input),
        4 => sandbox_writings(&mut input),
        _ => base64(&mut input),
    }
});

fn check((normalize, key_len): (Normalize, usize), text: &str) -> Option<Address> {
    let address = normalize(text).ok()?;
    assert_eq!(address.key.len(), key_len);
    let again = normalize(&address.text).expect("a normal form");
    assert_eq!((&again.text, &again.key), (&address.text, &address.key));
    let spaced = normalize(&format!(" {text}\n")).expect("spaces around");
    assert_eq!(spaced.key, address.key);
    Some(address)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each letter in the case that the input chooses: one case throughout is right, a mixture has to be EIP-55.
fn evm_writings(input: &mut Input<'_>) {
    let key: [u8; 20] = input.array();
    let plain = format!("0x{}", hex(&key));
    let shown = check(PLUGINS[0], &plain).expect("lower case");
    assert_eq!(shown.key, key);
    let digits = shown.text[2..].chars().map(|digit| match input.pick(4) {
        0 => digit.to_ascii_uppercase(),
        1 => digit.to_ascii_lowercase(),
        _ => digit,
    });
    let written = format!("0x{}", digits.collect::<String>());
    let is_upper = !written[2..].bytes().any(|digit| digit.is_ascii_lowercase());
    let is_right = written == shown.text || written == plain || is_upper;
    assert_eq!(check(PLUGINS[0], &written).is_some(), is_right, "{written}");
}

/// Any bytes with a right checksum: an address is a prefix and 20 bytes.
fn tron_writings(input: &mut Input<'_>) {
    let len = if input.pick(4) == 0 { input.pick(60) as usize } else { 20 };
    let prefix = if input.pick(4) == 0 { input.byte() } else { 0x41 };
    let key = input.bytes(len).to_vec();
    let text = bs58::encode(&key).with_check_version(prefix).into_string();
    let is_right = key.len() == 20 && prefix == 0x41;
    let address = check(PLUGINS[1], &text);
    assert_eq!(address.map(|address| address.key), is_right.then(|| key.clone()));
    let written = hex(&[&[prefix], &key[..]].concat());
    for text in [written.clone(), format!("0x{written}"), written.to_uppercase()] {
        assert_eq!(check(PLUGINS[1], &text).map(|address| address.key), is_right.then(|| key.clone()));
    }
}

fn ton_writings(input: &mut Input<'_>) {
    let workchain = [0, -1, 1, -128][input.pick(4) as usize];
    let tag = [0x11, 0x51, 0x91, 0xd1, 0x12][input.pick(5) as usize];
    let writing = input.pick(4) as u8;
    let text = ton::write_account(workchain, input.array(), tag, writing);
    let is_known = matches!(workchain, 0 | -1) && (writing < 2 || tag != 0x12);
    let main = check(PLUGINS[2], &text);
    let test = check(PLUGINS[3], &text);
    assert_eq!(test.is_some(), is_known, "{text}");
    assert_eq!(main.is_some(), is_known && (writing < 2 || tag < 0x80), "{text}");
    if let (Some(main), Some(test)) = (main, test) {
        assert_eq!(main.key, test.key);
    }
}

fn sandbox_writings(input: &mut Input<'_>) {
    let account: [u8; 16] = input.array();
    let address = check(PLUGINS[4], &sandbox_address::encode(account)).expect("an address");
    assert_eq!(address.key, account);
    assert!(check(PLUGINS[4], &sandbox_address::encode_wrongly(account)).is_none());
}

/// The alphabet of TON's addresses: both ways, and what is read is written the same.
fn base64(input: &mut Input<'_>) {
    let is_url_safe = input.pick(2) == 0;
    if input.pick(2) == 0 {
        let bytes = input.rest();
        let text = ton::base64_encode(bytes, is_url_safe);
        assert_eq!(ton::base64_decode(&text).as_deref(), Some(bytes));
        assert_eq!(ton::base64_decode(text.trim_end_matches('=')).as_deref(), Some(bytes));
        return;
    }
    let text = input.text();
    if let Some(bytes) = ton::base64_decode(&text) {
        let written = ton::base64_encode(&bytes, false);
        let standard = text.replace('-', "+").replace('_', "/");
        assert_eq!(written.trim_end_matches('='), standard.trim_end_matches('='));
    }
}
