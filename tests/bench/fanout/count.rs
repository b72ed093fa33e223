//! The gateway's allocator, and how much it has given out. One thread: no need for atomic additions.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

pub struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: isize) {
    BYTES.store(BYTES.load(Relaxed) + bytes, Relaxed);
    CALLS.store(CALLS.load(Relaxed) + (bytes > 0) as usize, Relaxed);
}

/// Bytes asked for and not given back.
pub fn bytes() -> isize {
    BYTES.load(Relaxed)
}

/// How often memory was asked for.
pub fn calls() -> usize {
    CALLS.load(Relaxed)
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { mimalloc::MiMalloc.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { mimalloc::MiMalloc.realloc(at, layout, size) }
    }
}
