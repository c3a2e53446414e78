//! `derive-address`: no key text is a panic, the same key gives the same address, EVM and TRON derive the
//! same account, and the address is a normal form.
#![no_main]

use kassa_chain_evm::fuzzing as evm;
use kassa_chain_sandbox::fuzzing as sandbox;
use kassa_chain_tron::fuzzing as tron;
use kassa_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

const VERSIONS: [[u8; 4]; 4] =
    [[0x04, 0x88, 0xb2, 0x1e], [0x04, 0x35, 0x87, 0xcf], [0x04, 0x88, 0xad, 0xe4], [0x04, 0x35, 0x83, 0x94]];

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let index = [0, 1, (1 << 31) - 1, 1 << 31, u32::MAX, input.pick(1 << 32) as u32][input.pick(6) as usize];
    let text = match input.pick(4) {
        0 => input.text(),
        // Any bytes with a right checksum.
        1 => bs58::encode(input.bytes(90)).with_check().into_string(),
        version => {
            let version = VERSIONS[(version as usize - 2) + if input.pick(8) == 0 { 2 } else { 0 }];
            let mut bytes = [0; 78];
            bytes[..4].copy_from_slice(&version);
            bytes[4..].copy_from_slice(&input.array::<74>());
            if input.pick(8) != 0 {
                bytes[45] = 2 + bytes[45] % 2;
            }
            bs58::encode(bytes).with_check().into_string()
        }
    };
    let (one, other) = (evm::derive(&text, index), tron::derive(&text, index));
    assert_eq!(format!("{one:?}"), format!("{:?}", evm::derive(&format!("\t{text} "), index)));
    match (&one, &other) {
        (Ok(one), Ok(other)) => {
            assert!(index < 1 << 31);
            assert_eq!(one.key, other.key);
            assert_eq!(evm::normalize(&one.text).expect("a normal form").key, one.key);
            assert_eq!(tron::normalize(&other.text).expect("a normal form").text, other.text);
            assert_ne!(evm::derive(&text, index ^ 1).expect("a neighbour").key, one.key);
        }
        (Err(one), Err(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        _ => panic!("one derives, the other does not: {text}"),
    }
    if let Ok(address) = sandbox::derive(&text, index) {
        assert_eq!(sandbox::normalize(&address.text).expect("a normal form").key, address.key);
    }
});
