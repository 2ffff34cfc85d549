//! How a process ends that did not become a server.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::logging::{self, LogLine, Severity};

/// Why there is no TLS.
pub(super) const PLAIN_TEXT: &str = "speaks plain text";

/// The end of a process that did not become a server, with everything it still says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exit {
    /// 0 after `--help` and `--version`, 2 when the command line could not be parsed, 1 for everything found later.
    pub(crate) status: u8,
    /// Text for standard output.
    pub(crate) stdout: String,
    /// Lines for the log.
    pub(crate) log: Vec<LogLine>,
    /// Text for standard error, to be written after [`Self::log`].
    pub(crate) stderr: String,
}

impl Exit {
    /// Says all of it. An output that is closed does not change how the process ends.
    pub(crate) fn report(&self) -> ExitCode {
        let _ = io::stdout().write_all(self.stdout.as_bytes());
        self.log.iter().for_each(logging::emit);
        let _ = io::stderr().write_all(self.stderr.as_bytes());
        ExitCode::from(self.status)
    }

    /// Something on the command line, found after it was parsed.
    pub(super) fn verifying(text: &str) -> Self {
        let text = format!("error verifying flags, {text}. See 'etcd --help'.");
        Self { status: 1, log: vec![LogLine::new(Severity::Error, "etcdmain", text)], ..Self::default() }
    }

    /// Anything else that makes it impossible to start.
    pub(crate) fn critical(package: &'static str, text: impl Into<String>) -> Self {
        Self { status: 1, log: vec![LogLine::new(Severity::Critical, package, text)], ..Self::default() }
    }

    /// Something of etcd that this version cannot do, for it speaks plain text.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::unsupported_for(what, PLAIN_TEXT)
    }

    /// Something of etcd that this version cannot do; `reason` says what it does instead.
    pub(super) fn unsupported_for(what: &str, reason: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self::critical("etcdmain", format!("{what} is not supported by uetcd {version}, which {reason}"))
    }

    /// The same end, with what was to be logged before it.
    pub(super) fn after(mut self, log: &[LogLine]) -> Self {
        self.log.splice(0..0, log.iter().cloned());
        self
    }
}
