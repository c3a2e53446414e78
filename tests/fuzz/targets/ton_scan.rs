//! The whole scan of TON: blocks, states and transactions of the index.
#![no_main]

use kassa_chain_ton::fuzzing;
use libfuzzer_sys::fuzz_target;

kassa_fuzz::script!(fuzzing, |text| fuzzing::normalize(text, false));

fuzz_target!(|data: &[u8]| kassa_fuzz::scans::run::<Script>(data));
