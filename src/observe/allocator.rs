//! The allocator of the process: mimalloc, and what each thread holds.
//!
//! Weir cannot know from a script's text what it will hold: a copy of an array, a text in a closure, a map's keys. The
//! allocator sees all of it. It adds to one number of the thread, without a lock and without an atomic.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// `#[global_allocator]` of the program, its tests and its benches.
pub struct Allocator;

thread_local! {
    // Constant, and without a destructor: so that it may be used from inside an allocation, at a thread's end too.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// mimalloc's number of the option `purge_delay` (`mimalloc.h`), which its Rust binding does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// How long freed memory stays mapped. mimalloc 3 keeps it for a second: in a flood that is twice what the process holds.
const PURGE_DELAY_MS: std::ffi::c_long = 10;

/// To be called before threads start. `MIMALLOC_PURGE_DELAY` in the environment still decides.
pub fn set_up_allocator() {
    // SAFETY: sets a number in a table of mimalloc's own.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}

/// Bytes that this thread has allocated, less those that it has freed; below 0 where it frees what others allocated.
/// Always 0 in a program with another allocator.
pub fn held_bytes() -> isize {
    HELD.get()
}

fn add(bytes: isize) {
    HELD.set(HELD.get().wrapping_add(bytes));
}

// SAFETY: all is mimalloc's; counting touches no memory but its own.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        add(new_size as isize - layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.realloc(ptr, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_what_it_holds() {
        let before = held_bytes();
        let mut some = vec![0u8; 10_000];
        assert_eq!(held_bytes() - before, 10_000);
        some.resize(30_000, 1);
        assert!(held_bytes() - before >= 30_000);
        let other = std::thread::spawn(move || drop(some));
        assert!(other.join().is_ok() && held_bytes() - before >= 30_000, "it was freed elsewhere");
    }
}
