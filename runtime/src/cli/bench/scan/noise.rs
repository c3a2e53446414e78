//! Numbers and bytes that look random and are the same in every run.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// SplitMix64.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        [(); N].map(|()| self.number().to_be_bytes()[0])
    }

    /// Hexadecimal digits of `bytes` bytes.
    pub(super) fn hex(&mut self, bytes: usize) -> String {
        let bytes: Vec<u8> = (0..bytes).map(|_| self.number().to_be_bytes()[0]).collect();
        hex::encode(bytes)
    }

    /// A hash as TON's index writes it.
    pub(super) fn base64(&mut self) -> String {
        STANDARD.encode(self.bytes::<32>())
    }
}
