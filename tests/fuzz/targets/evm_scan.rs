//! The whole scan of EVM: JSON-RPC answers, in batches and alone.
#![no_main]

use kassa_chain_evm::fuzzing;
use libfuzzer_sys::fuzz_target;

kassa_fuzz::script!(fuzzing, fuzzing::normalize);

fuzz_target!(|data: &[u8]| kassa_fuzz::scans::run::<Script>(data));
