//! Passwords, from a terminal without echo or from a line of standard input.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::mem::MaybeUninit;

use crate::failed::Failed;
use crate::screen;

/// Asks for a password.
///
/// # Errors
/// Standard input can not be read.
pub(crate) fn password(question: &str) -> Result<String, Failed> {
    screen::say_text(question);
    let silence = io::stdin().is_terminal().then(Silence::new).flatten();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    drop(silence);
    screen::say_text("\n");
    read.map_err(|e| Failed::said(format!("Error reading password: {e}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// No echo for as long as it lives.
struct Silence(libc::termios);

impl Silence {
    fn new() -> Option<Self> {
        let mut before = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: tcgetattr(3) writes a whole termios when it returns 0, and only then it is read.
        let before = unsafe {
            if libc::tcgetattr(libc::STDIN_FILENO, before.as_mut_ptr()) != 0 {
                return None;
            }
            before.assume_init()
        };
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        set(&silent);
        Some(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        set(&self.0);
    }
}

fn set(termios: &libc::termios) {
    // SAFETY: the argument is a whole termios, which tcgetattr(3) gave.
    unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, termios) };
}
