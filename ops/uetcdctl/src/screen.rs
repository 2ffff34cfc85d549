//! Standard output and error. When nobody reads them any more, the program ends as others do: by SIGPIPE.
//! Any other failure is ignored, as in etcdctl: what was done is done.

use std::fmt::Display;
use std::io::{self, Write};

/// One line for standard output.
pub(crate) fn say(line: impl Display) {
    write(&mut io::stdout().lock(), format_args!("{line}\n"));
}

/// Text for standard output, as it is.
pub(crate) fn say_text(text: &str) {
    let mut out = io::stdout().lock();
    write(&mut out, format_args!("{text}"));
    check(out.flush());
}

/// Text for standard error, as it is.
pub(crate) fn complain(text: &str) {
    write(&mut io::stderr().lock(), format_args!("{text}"));
}

fn write(to: &mut dyn Write, text: std::fmt::Arguments<'_>) {
    check(to.write_fmt(text));
}

fn check(result: io::Result<()>) {
    if result.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
        std::process::exit(1);
    }
}
