//! The guest's allocator, made for an instance that lives for one call.
//!
//! Memory that a fresh instance begins with costs nothing; `memory.grow` costs the host two system calls and an
//! interrupt of every other processor, at the first allocation of every call. So the first [`ARENA_BYTES`] come
//! from a static arena that only ever moves forward (nothing outlives the call), and what does not fit there from
//! the standard library's allocator, which grows the memory.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::UnsafeCell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Size of the arena, bytes: enough for a call that computes or matches. A long scan needs more, and more than it can
/// gain here.
const ARENA_BYTES: usize = 256 << 10;

/// The allocator; see the module.
pub(crate) struct Arena {
    bytes: UnsafeCell<[u8; ARENA_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: a block of `bytes` is handed out once, since `used` only grows past it.
#[allow(unsafe_code)]
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; ARENA_BYTES]), used: AtomicUsize::new(0) }
    }

    fn start(&self) -> usize {
        self.bytes.get().addr()
    }

    /// Offset of the block in the arena. `None` if it is not in the arena.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        block.addr().checked_sub(self.start()).filter(|offset| *offset < ARENA_BYTES)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let used = self.start() + self.used.load(Ordering::Relaxed);
        let offset = used.checked_next_multiple_of(layout.align())? - self.start();
        let end = offset.checked_add(layout.size())?;
        if end > ARENA_BYTES {
            return None;
        }
        self.used.store(end, Ordering::Relaxed);
        Some(self.bytes.get().cast::<u8>().wrapping_add(offset))
    }

    /// Extends the block in place, if it is the last one and there is room. Returns true if it did.
    fn extend(&self, offset: usize, size: usize, new_size: usize) -> bool {
        let is_last = self.used.load(Ordering::Relaxed) == offset + size;
        match offset.checked_add(new_size) {
            Some(end) if is_last && end <= ARENA_BYTES => {
                self.used.store(end, Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }
}

// SAFETY: blocks of the arena are inside of it, aligned, and overlap no other (guests have one thread); all
// other blocks are the standard library's.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        self.take(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // What was never handed out before is still zero.
        // SAFETY: as above.
        self.take(layout).unwrap_or_else(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.offset(block).is_none() {
            // SAFETY: it is not the arena's, so it is one of `System`.
            unsafe { System.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: it is not the arena's, so it is one of `System`.
            return unsafe { System.realloc(block, layout, new_size) };
        };
        if new_size <= layout.size() || self.extend(offset, layout.size(), new_size) {
            return block;
        }
        // SAFETY: the size is the caller's and the alignment that of a valid layout; the new block is none of the
        // old one's bytes.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size());
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn blocks_are_aligned_apart_and_keep_what_is_in_them() {
        let arena = Box::new(Arena::new());
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        // SAFETY: every block is used within its layout and given back with it.
        unsafe {
            let odd = arena.alloc(layout(3, 1));
            let wide = arena.alloc_zeroed(layout(64, 16));
            assert_eq!(wide.addr() % 16, 0);
            assert!(wide.addr() >= odd.addr() + 3);
            assert_eq!(std::slice::from_raw_parts(wide, 64), [0; 64]);
            wide.write_bytes(7, 64);

            // The last one grows in place; another moves, and keeps its bytes.
            assert_eq!(arena.realloc(wide, layout(64, 16), 128), wide);
            odd.write_bytes(9, 3);
            let moved = arena.realloc(odd, layout(3, 1), 100);
            assert!(moved.addr() >= wide.addr() + 128);
            assert_eq!(std::slice::from_raw_parts(moved, 3), [9; 3]);
            assert_eq!(std::slice::from_raw_parts(wide, 64), [7; 64]);

            // What does not fit is allocated elsewhere: moved out of the arena, and shrunk again outside it.
            let big = arena.realloc(moved, layout(100, 1), ARENA_BYTES);
            assert_eq!(arena.offset(big), None);
            assert_eq!(std::slice::from_raw_parts(big, 3), [9; 3]);
            let bigger = arena.realloc(big, layout(ARENA_BYTES, 1), 2 * ARENA_BYTES);
            arena.dealloc(bigger, layout(2 * ARENA_BYTES, 1));
            arena.dealloc(moved, layout(100, 1));
            assert!(arena.offset(arena.alloc(layout(8, 8))).is_some(), "the arena has room left");
        }
    }
}
