//! Counts what a thread allocates, so that targets can hold decoders to it.
#![expect(unsafe_code, reason = "a global allocator cannot be written without; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count per thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // by how much it grows: what is moved is there twice only while it is copied
        count(size.saturating_sub(layout.size()));
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: usize) {
    // while the thread ends there is nothing left to count in
    let _ended = ALLOCATED_BYTES.try_with(|allocated| allocated.set(allocated.get() + bytes as u64));
}

/// Allocations for each byte of input. 128: an empty row of a listing takes 5 bytes in a message and 240 in memory, and
/// a list that has just grown has room for twice its rows.
const PER_INPUT_BYTE: u64 = 128;

/// Allocations whatever the input, bytes: errors, first growth of lists, buffers of a fixed size.
const FIXED_BYTES: u64 = 16 << 10;

/// What `work` returns; panics when it asked for more memory, all in all, than `input_bytes` justify.
pub fn bounded<T>(what: &str, input_bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATED_BYTES.get();
    let result = work();
    let allocated = ALLOCATED_BYTES.get() - before;
    let limit = FIXED_BYTES + PER_INPUT_BYTE * input_bytes as u64;
    assert!(allocated <= limit, "{what}: {allocated} bytes allocated for {input_bytes} bytes of input");
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "bytes allocated for 4 bytes of input")]
    fn a_decoder_that_believes_a_length_is_caught() {
        bounded("liar", 4, || Vec::<u8>::with_capacity(1 << 20));
    }
}
