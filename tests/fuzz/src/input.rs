//! The fuzzer's bytes from both ends: from the front what becomes text or data, from the back the choices. So
//! a change of the one does not move the other.

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// A number below `below`; 0 once the bytes are used up.
    pub fn pick(&mut self, below: u64) -> u64 {
        let bytes = if below <= 256 { 1 } else { 8 };
        let start = self.0.len().saturating_sub(bytes);
        let (rest, taken) = self.0.split_at(start);
        self.0 = rest;
        let number = taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        number.checked_rem(below).unwrap_or(0)
    }

    /// The first byte; 0 once the bytes are used up.
    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// The first `len` bytes, or as many as there are.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.rest()).into_owned()
    }
}
