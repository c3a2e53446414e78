//! `logsBloom`: the addresses and topics that a block's logs may have.
//!
//! 2048 bits; an address or a topic sets three of them, given by its Keccak-256 hash (Yellow Paper, 4.3.1: each of the
//! first three pairs of bytes modulo 2048, counted from the last bit). A bit that is not set proves absence; set bits
//! prove nothing.

use crate::address::keccak;

#[derive(Clone)]
pub(crate) struct Bloom([u8; 256]);

/// The three bits of an address or a topic, as (byte, mask).
#[derive(Clone, Copy)]
pub(crate) struct Bits([(usize, u8); 3]);

impl Bits {
    pub(crate) fn of(item: &[u8]) -> Self {
        let hash = keccak(item);
        let mut pairs = hash.chunks_exact(2);
        Self([(); 3].map(|()| {
            let pair = pairs.next().and_then(|pair| pair.try_into().ok()).unwrap_or_default();
            let bit = u16::from_be_bytes(pair) & 2047;
            (255 - usize::from(bit / 8), 1 << (bit % 8))
        }))
    }
}

impl Bloom {
    pub(crate) fn new(bytes: [u8; 256]) -> Self {
        Self(bytes)
    }

    pub(crate) fn may_have(&self, bits: &Bits) -> bool {
        bits.0.iter().all(|(byte, mask)| self.0.get(*byte).is_some_and(|byte| byte & mask != 0))
    }

    pub(crate) fn clear(&mut self, bits: &Bits) {
        for (byte, mask) in bits.0 {
            if let Some(byte) = self.0.get_mut(byte) {
                *byte &= !mask;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.iter().all(|byte| *byte == u8::MAX)
    }

    /// True if more than a third of the bits are set: then one address in thirty looks present that is not, and the
    /// bloom is no reason to doubt an answer at some expense.
    pub(crate) fn is_dense(&self) -> bool {
        self.0.iter().map(|byte| byte.count_ones()).sum::<u32>() > 2048 / 3
    }
}

#[cfg(any(test, fuzzing))]
impl Bloom {
    pub(crate) fn set(&mut self, bits: &Bits) {
        for (byte, mask) in bits.0 {
            self.0[byte] |= mask;
        }
    }

    pub(crate) fn text(&self) -> String {
        crate::hex::text(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vector of go-ethereum, core/types/bloom9_test.go: some words, and the bloom that they give.
    #[test]
    fn sets_the_bits_that_geth_sets() {
        let mut bloom = Bloom::new([0; 256]);
        for word in ["testtest", "test", "hallo", "other"] {
            bloom.set(&Bits::of(word.as_bytes()));
        }
        for word in ["testtest", "test", "hallo", "other"] {
            assert!(bloom.may_have(&Bits::of(word.as_bytes())));
        }
        for word in ["tes", "lo"] {
            assert!(!bloom.may_have(&Bits::of(word.as_bytes())));
        }
        assert!(!bloom.is_dense() && !bloom.is_full());
        for word in ["test", "hallo", "other"] {
            bloom.clear(&Bits::of(word.as_bytes()));
        }
        assert!(!bloom.is_empty());
        bloom.clear(&Bits::of(b"testtest"));
        assert!(bloom.is_empty());
        assert!(Bloom::new([0x55; 256]).is_dense());
    }
}
