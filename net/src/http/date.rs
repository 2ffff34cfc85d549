//! The `Date` header, made once per second rather than once per answer.

use crate::civil::Civil;
use crate::decimal;

/// Length of an IMF-fixdate.
const DATE_LEN: usize = 29;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A second as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateStamp([u8; DATE_LEN]);

impl DateStamp {
    /// The stamp of the second that began `unix_seconds` after the start of 1970.
    ///
    /// The format has four digits for the year: a clock beyond the year 9999 is shown modulo 10,000 years.
    pub fn at(unix_seconds: u64) -> Self {
        let date = Civil::from_unix(unix_seconds.min(i64::MAX as u64 / 2) as i64);
        let year = date.year.rem_euclid(10_000) as usize;
        let mut text = *b"Www, DD Mmm YYYY HH:MM:SS GMT";
        text[0..3].copy_from_slice(WEEKDAYS[usize::from(date.weekday)]);
        text[5..7].copy_from_slice(decimal::pair(usize::from(date.day)));
        text[8..11].copy_from_slice(MONTHS[usize::from(date.month) - 1]);
        text[12..14].copy_from_slice(decimal::pair(year / 100));
        text[14..16].copy_from_slice(decimal::pair(year % 100));
        text[17..19].copy_from_slice(decimal::pair(usize::from(date.hour)));
        text[20..22].copy_from_slice(decimal::pair(usize::from(date.minute)));
        text[23..25].copy_from_slice(decimal::pair(usize::from(date.second)));
        Self(text)
    }

    /// The 29 bytes of the header's value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The stamp of the current second, remade only when the second changes. The caller supplies the clock.
#[derive(Clone, Debug)]
pub struct DateCache {
    second: u64,
    stamp: DateStamp,
}

impl DateCache {
    /// A cache that holds the stamp of `unix_seconds`.
    pub fn new(unix_seconds: u64) -> Self {
        Self { second: unix_seconds, stamp: DateStamp::at(unix_seconds) }
    }

    /// The stamp of `unix_seconds`.
    pub fn at(&mut self, unix_seconds: u64) -> &DateStamp {
        if self.second != unix_seconds {
            *self = Self::new(unix_seconds);
        }
        &self.stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_read_as_the_rfc_writes_them() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_502_721, "Tue, 24 Nov 2026 06:45:21 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(DateStamp::at(seconds).as_bytes(), text.as_bytes());
            assert_eq!(DateCache::new(1).at(seconds).as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn no_clock_makes_it_panic() {
        for seconds in [253_402_300_800, i64::MAX as u64, u64::MAX] {
            assert_eq!(DateStamp::at(seconds).as_bytes().len(), DATE_LEN);
        }
    }
}
