//! The calendar: from seconds since 1970 to year, month, day and time of day, UTC, proleptic Gregorian.

const SECONDS_PER_DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01, where the arithmetic starts, to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: u8,
    /// 1 to 31.
    pub(crate) day: u8,
    /// 0 is Sunday.
    pub(crate) weekday: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

impl Civil {
    /// The moment `seconds` after (before, when negative) the start of 1970.
    ///
    /// Years start in March here, so that the leap day is a year's last day and month lengths follow one formula.
    pub(crate) fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let era = (days + DAYS_TO_EPOCH).div_euclid(DAYS_PER_ERA);
        let day_of_era = (days + DAYS_TO_EPOCH).rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            weekday: (days + 4).rem_euclid(7) as u8,
            hour: (second_of_day / 3_600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_the_time_crate_from_1677_to_2262() {
        let (first, last) = (i64::MIN / 1_000_000_000 - 1, i64::MAX / 1_000_000_000);
        // A prime step: it meets every time of day, weekday and leap rule without walking every second.
        for seconds in (first..=last).step_by(1_299_709).chain([first, last, -1, 0, 951_782_400, 4_107_542_400]) {
            let want = time::OffsetDateTime::from_unix_timestamp(seconds).expect("in range");
            let got = Civil::from_unix(seconds);
            assert_eq!(
                (got.year, got.month, got.day, got.weekday),
                (i64::from(want.year()), u8::from(want.month()), want.day(), want.weekday().number_days_from_sunday()),
                "{seconds}"
            );
            assert_eq!((got.hour, got.minute, got.second), want.time().as_hms(), "{seconds}");
        }
    }
}
