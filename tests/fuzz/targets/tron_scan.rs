//! The whole scan of TRON: blocks and transaction infos of java-tron.
#![no_main]

use kassa_chain_tron::fuzzing;
use libfuzzer_sys::fuzz_target;

kassa_fuzz::script!(fuzzing, fuzzing::normalize);

fuzz_target!(|data: &[u8]| kassa_fuzz::scans::run::<Script>(data));
