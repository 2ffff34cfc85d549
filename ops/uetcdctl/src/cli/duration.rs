//! Durations as Go writes them: `300ms`, `1.5s`, `1h2m`.

use std::time::Duration;

/// Reads a duration; negative ones are zero.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let nanoseconds = sum(rest)?;
    let limit = i64::MAX as u64 + u64::from(negative);
    if nanoseconds > u128::from(limit) {
        return None;
    }
    Some(if negative { Duration::ZERO } else { Duration::from_nanos(nanoseconds as u64) })
}

/// Nanoseconds of one or more numbers with units.
fn sum(mut rest: &str) -> Option<u128> {
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, behind) = rest.split_at(number);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        total = total.checked_add(scaled(digits, unit_of(unit)?)?)?;
        rest = behind;
    }
    Some(total)
}

fn scaled(digits: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: String = fraction.chars().take(15).collect();
    let parts: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(parts * unit / 10u128.pow(fraction.len() as u32))
}

fn unit_of(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let ms = |n| Some(Duration::from_millis(n));
        for (text, want) in [
            ("5s", ms(5000)),
            ("1.5s", ms(1500)),
            (".5s", ms(500)),
            ("1h2m3s4ms", ms(3_723_004)),
            ("+2s", ms(2000)),
            ("0", ms(0)),
            ("0s", ms(0)),
            ("-1s", ms(0)),
            ("5", None),
            ("", None),
            ("s", None),
            (".s", None),
            ("5 s", None),
            ("1d", None),
            ("9999999999h", None),
        ] {
            assert_eq!(parse(text), want, "{text:?}");
        }
    }
}
