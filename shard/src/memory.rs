//! Asking for memory before it is needed. It changes nothing that can be seen but time.

use std::rc::Rc;

/// Bytes of a line of memory.
const LINE: usize = 64;

/// Bytes of the counts in front of what an [`Rc`] shares.
const COUNTS: usize = 2 * size_of::<usize>();

/// Asks for all lines of what is here, and does not wait for them.
pub(crate) fn ask<T: ?Sized>(what: &T) {
    ask_lines(std::ptr::from_ref(what).cast(), size_of_val(what));
}

/// Asks for what is shared, and for the counts of those who share it. It is not looked at: of a slice, the length is in the reference.
pub(crate) fn ask_shared<T: ?Sized>(shared: &Rc<T>) {
    let what: &T = shared;
    ask_lines(std::ptr::from_ref(what).cast::<u8>().wrapping_sub(COUNTS), COUNTS + size_of_val(what).min(MOST));
}

/// Lines of one thing beyond which the processor follows by itself.
const MOST: usize = 4 * LINE;

fn ask_lines(from: *const u8, bytes: usize) {
    if bytes == 0 {
        return;
    }
    let last = from.wrapping_add(bytes - 1);
    let mut line = from;
    while line < last {
        ask_line(line);
        line = line.wrapping_add(LINE);
    }
    ask_line(last);
}

/// Whether it can be asked for. Elsewhere memory is waited for when it is needed.
pub(crate) const CAN_ASK: bool = cfg!(target_arch = "x86_64");

#[cfg(target_arch = "x86_64")]
fn ask_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint. Of an address that is not there it does nothing.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
fn ask_line(_at: *const u8) {}
