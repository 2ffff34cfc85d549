//! Passwords, from a terminal without echo or from a line of standard input.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use crate::failed::Failed;
use crate::screen;

/// Asks for a password. Blanks around it do not count, as in etcdctl.
///
/// # Errors
/// Standard input can not be read.
pub(crate) fn password(question: &str) -> Result<Vec<u8>, Failed> {
    let silence = io::stdin().is_terminal().then(Silence::new).flatten();
    screen::say_text(question);
    let mut line = Vec::new();
    let read = io::stdin().lock().read_until(b'\n', &mut line);
    drop(silence);
    screen::say_text("\n");
    read.map_err(|e| Failed::said(format!("Error reading password: {e}")))?;
    Ok(line.trim_ascii().to_owned())
}

/// What ends a program that somebody has had enough of. None of them may leave the terminal without echo.
const ENDING: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The exit status then, which is etcdctl's.
const ENDED: libc::c_int = 255;

/// The terminal as it was before the first prompt.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

/// No echo for as long as it lives. Keeps what the signals did before.
struct Silence(Vec<(libc::c_int, libc::sigaction)>);

impl Silence {
    fn new() -> Option<Self> {
        let before = BEFORE.get().copied().or_else(terminal)?;
        let _ = BEFORE.set(before);
        // The handlers first, or a signal finds the echo off and nobody to restore it.
        let kept = ENDING.iter().filter_map(|&signal| Some((signal, act(signal, &restoring())?)));
        let silence = Self(kept.collect());
        set(&libc::termios { c_lflag: before.c_lflag & !libc::ECHO, ..before });
        Some(silence)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        restore();
        for (signal, action) in &self.0 {
            act(*signal, action);
        }
    }
}

fn terminal() -> Option<libc::termios> {
    let mut now = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr(3) writes a whole termios when it returns 0, and only then it is read.
    unsafe { (libc::tcgetattr(libc::STDIN_FILENO, now.as_mut_ptr()) == 0).then(|| now.assume_init()) }
}

fn set(termios: &libc::termios) {
    // SAFETY: the argument is a whole termios, which tcgetattr(3) gave.
    unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, termios) };
}

fn restore() {
    if let Some(before) = BEFORE.get() {
        set(before);
    }
}

/// Sets what a signal does, and gives what it did.
fn act(signal: libc::c_int, action: &libc::sigaction) -> Option<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: both are whole sigactions, and sigaction(2) writes `before` when it returns 0. `end` does only what a handler may.
    unsafe { (libc::sigaction(signal, action, before.as_mut_ptr()) == 0).then(|| before.assume_init()) }
}

fn restoring() -> libc::sigaction {
    // SAFETY: a sigaction may be all zeros: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = end as extern "C" fn(libc::c_int) as usize;
    action
}

/// The handler. tcsetattr(3) and _exit(2) may be called in one, and a set `OnceLock` is an atomic load.
extern "C" fn end(_: libc::c_int) {
    restore();
    // SAFETY: _exit(2) touches no memory of ours.
    unsafe { libc::_exit(ENDED) }
}
