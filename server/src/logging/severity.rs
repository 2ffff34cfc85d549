//! The levels of capnslog.

use tracing::Level;
use tracing::level_filters::LevelFilter;

/// How bad a line is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Severity {
    /// The process ends because of it.
    Critical,
    /// Something failed.
    Error,
    /// Something may fail later.
    Warning,
    /// Normal, and worth noticing.
    Notice,
    /// Normal.
    Info,
    /// For those who look for a fault.
    Debug,
    /// For those who look for a fault in this program.
    Trace,
}

impl Severity {
    /// All of them, the worst first.
    pub(crate) const ALL: [Self; 7] =
        [Self::Critical, Self::Error, Self::Warning, Self::Notice, Self::Info, Self::Debug, Self::Trace];

    /// The letter in a line.
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Critical => 'C',
            Self::Error => 'E',
            Self::Warning => 'W',
            Self::Notice => 'N',
            Self::Info => 'I',
            Self::Debug => 'D',
            Self::Trace => 'T',
        }
    }

    /// The name in `--log-package-levels` and in `PUT /config/local/log`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }

    /// The priority in syslog's numbers.
    pub(crate) const fn priority(self) -> u8 {
        match self {
            Self::Critical => 2,
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug | Self::Trace => 7,
        }
    }

    /// Reads a level: a name in any case, its first letter, or a number.
    ///
    /// Source: capnslog, where the numbers begin with -1 for CRITICAL and only 0 (ERROR) to 5 (TRACE) can be written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let number = |at: usize| (at > 0).then(|| (at - 1).to_string());
        Self::ALL.into_iter().enumerate().find_map(|(at, level)| {
            let known = upper == level.name()
                || upper.chars().eq([level.letter()])
                || number(at).is_some_and(|number| number == upper);
            known.then_some(level)
        })
    }

    /// The severity of an event; `raised` marks what `tracing` has no level for.
    pub(super) fn of(level: Level, raised: bool) -> Self {
        match level {
            Level::ERROR if raised => Self::Critical,
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO if raised => Self::Notice,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }

    /// The events that may have this severity or a worse one.
    pub(super) fn level_filter(self) -> LevelFilter {
        match self {
            Self::Critical | Self::Error => LevelFilter::ERROR,
            Self::Warning => LevelFilter::WARN,
            Self::Notice | Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_capnslog_reads_them() {
        for (text, want) in [
            ("CRITICAL", Some(Severity::Critical)),
            ("debug", Some(Severity::Debug)),
            ("D", Some(Severity::Debug)),
            ("n", Some(Severity::Notice)),
            ("0", Some(Severity::Error)),
            ("3", Some(Severity::Info)),
            ("5", Some(Severity::Trace)),
            ("6", None),
            ("-1", None),
            ("", None),
            ("warn", None),
            ("bogus", None),
        ] {
            assert_eq!(Severity::parse(text), want, "{text:?}");
        }
    }

    #[test]
    fn an_event_passes_the_filter_of_its_own_severity() {
        for severity in Severity::ALL {
            for (level, raised) in [
                (Level::ERROR, true),
                (Level::ERROR, false),
                (Level::WARN, false),
                (Level::INFO, true),
                (Level::INFO, false),
                (Level::DEBUG, false),
                (Level::TRACE, false),
            ] {
                if Severity::of(level, raised) <= severity {
                    assert!(severity.level_filter() >= level, "{severity:?} hides {level:?}");
                }
            }
        }
    }
}
