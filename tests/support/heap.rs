//! A global allocator that counts, for tests that hold the library to what it really takes.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

/// What glibc's malloc takes for a request: a header of 8 bytes, blocks in steps of 16, at least 32;
/// large ones are whole pages with a header of 16.
const fn block(len: usize) -> usize {
    if len >= 128 * 1024 {
        return (len + 16).next_multiple_of(4096);
    }
    let block = (len + 8).next_multiple_of(16);
    if block < 32 { 32 } else { block }
}

// SAFETY: all is left to the system's allocator; counting touches no memory that it hands out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(block(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(block(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_add(block(size), Ordering::Relaxed);
        HELD.fetch_sub(block(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Bytes that the whole process holds on the heap.
pub(crate) fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Keeps other tests of the same file from allocating meanwhile.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
