//! Bags of cells: any bytes, bytes with their checksum made right, and trees that are written and read back.
#![no_main]

use kassa_chain_ton::fuzzing as ton;
use kassa_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.pick(3) {
        0 => {
            ton::bag(input.rest());
        }
        1 => {
            let mut bytes = input.rest().to_vec();
            let Some((body, crc)) = bytes.split_last_chunk_mut::<4>() else { return };
            *crc = ton::crc32c(body).to_le_bytes();
            ton::bag(&bytes);
        }
        _ => {
            let (mut bytes, hash) = ton::written_bag(&mut |below| input.pick(below));
            assert_eq!(ton::bag(&bytes).expect("a bag").1, Some(hash));
            // Bytes of it are then changed.
            for _ in 0..input.byte() % 8 {
                let (offset, byte) = (input.number() % bytes.len(), input.byte());
                bytes[offset] = byte;
            }
            if input.byte() == 0
                && let Some((body, crc)) = bytes.split_last_chunk_mut::<4>()
            {
                *crc = ton::crc32c(body).to_le_bytes();
            }
            ton::bag(&bytes);
        }
    }
});
