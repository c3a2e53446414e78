//! `ownership.verify`: whatever is handed in, nobody has signed it, so it proves nothing and is no panic.
#![no_main]

use kassa_chain_evm::fuzzing as evm;
use kassa_chain_ton::fuzzing as ton;
use kassa_chain_tron::fuzzing as tron;
use kassa_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const STATEMENT: &str = "This address is mine.\nCode: 00";
const EVM: &str = "0x52908400098527886E0F7030069857D2E4169EE7";
const TRON: &str = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
const TON: &str = "UQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPuwA";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.pick(4) {
        0 => {
            let proof = input.text();
            assert!(!evm::owns(EVM, STATEMENT, &proof));
            assert!(!tron::owns(TRON, STATEMENT, &proof));
            assert!(!ton::owns(TON, STATEMENT, &proof));
        }
        1 => {
            let mut signature = input.array::<65>();
            signature[64] = [0, 1, 27, 28][usize::from(signature[64] % 4)];
            let proof = format!("0x{}", hex(&signature));
            assert!(!evm::owns(EVM, STATEMENT, &proof));
            assert!(!tron::owns(TRON, STATEMENT, &proof));
        }
        way => {
            // The state init is that of the address, if it is one at all.
            let domain = input.text();
            let signature = ton::base64_encode(&input.array::<64>(), false);
            let state = match way {
                2 => ton::written_bag(&mut |below| input.pick(below)).0,
                _ => input.rest().to_vec(),
            };
            let address = match ton::bag(&state).and_then(|(_, hash)| hash) {
                Some(hash) => format!("0:{}", hex(&hash)),
                None => TON.to_owned(),
            };
            let proof = json!({
                "timestamp": 1, "domain": {"lengthBytes": domain.len(), "value": domain}, "payload": STATEMENT,
                "signature": signature, "state_init": ton::base64_encode(&state, false),
            });
            assert!(!ton::owns(&address, STATEMENT, &proof.to_string()));
        }
    }
});
