//! The values of flags, read by the rules of Go's `flag` and `strconv`, which is what etcd's users (and their unit
//! files) rely on: base-0 integers, six spellings of each boolean, durations with units.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Cors;
use super::urls::{Url, Urls};

/// One value of a flag, checked against its [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Uint`].
    Uint(u64),
    /// Of every kind that is only a text here.
    Text(String),
    /// Of [`Kind::Urls`].
    Urls(Urls),
    /// Of [`Kind::UrlsOrNone`].
    UrlsOrNone(Option<Urls>),
    /// Of [`Kind::Cors`].
    Cors(Cors),
    /// Of [`Kind::Cpus`].
    Cpus(Cpus),
}

/// What `--cores` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cpus {
    /// That many executors, on CPUs of the server's choice; 0 for one on every CPU.
    Count(u64),
    /// One executor on each of these.
    List(Vec<usize>),
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` when it stands alone; a value only after `=`.
    Bool,
    /// An unsigned 64-bit integer.
    Uint,
    /// A signed 64-bit integer; only checked.
    Int,
    /// A Go duration; only checked.
    Duration,
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of URLs.
    Urls,
    /// A list of URLs, or nothing.
    UrlsOrNone,
    /// A list of origins.
    Cors,
    /// `IP:port`, as the flags of etcd 0.4 took it.
    Address,
    /// A number of executors, or a list of CPUs like `0,2-3`.
    Cpus,
    /// A flag of etcd 0.4 that takes anything and does nothing.
    Ignored,
    /// A flag of etcd 0.4 that is refused.
    Withdrawn,
}

impl Kind {
    /// Whether a flag of this kind takes no separate argument.
    pub(crate) const fn is_bool(self) -> bool {
        matches!(self, Self::Bool | Self::Ignored)
    }

    /// Reads a value of the flag `name`. The error is the reason alone, in Go's or etcd's words.
    pub(crate) fn parse(self, name: &str, text: &str) -> Result<Value, String> {
        let as_text = || Value::Text(text.to_owned());
        match self {
            Self::Bool => parse_bool(text).map(Value::Bool).ok_or_else(|| PARSE_ERROR.to_owned()),
            Self::Uint => parse_uint(text).map(Value::Uint).map_err(str::to_owned),
            Self::Int => parse_int(text).map(|_| as_text()).map_err(str::to_owned),
            Self::Duration if is_duration(text) => Ok(as_text()),
            Self::Duration => Err(PARSE_ERROR.to_owned()),
            Self::Text | Self::Ignored => Ok(as_text()),
            Self::Choice(words) if words.contains(&text) => Ok(as_text()),
            Self::Choice(_) => Err("invalid value".to_owned()),
            Self::Urls => Urls::parse(text).map(Value::Urls),
            Self::UrlsOrNone if text.is_empty() => Ok(Value::UrlsOrNone(None)),
            Self::UrlsOrNone => Urls::parse(text).map(|urls| Value::UrlsOrNone(Some(urls))),
            Self::Cors => parse_cors(text).map(Value::Cors),
            Self::Address => check_address(text).map(|()| as_text()),
            Self::Cpus => parse_cpus(text).map(Value::Cpus).ok_or_else(|| PARSE_ERROR.to_owned()),
            Self::Withdrawn => Err(format!("flag \"-{name}\" is no longer supported.")),
        }
    }
}

/// Go's reason for anything that is not a number, a boolean or a duration.
const PARSE_ERROR: &str = "parse error";

/// Go's reason for a number that does not fit.
const OUT_OF_RANGE: &str = "value out of range";

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Source: Go's `strconv.ParseUint(text, 0, 64)`.
fn parse_uint(text: &str) -> Result<u64, &'static str> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    // An underscore separates digits, and the prefix of the base counts as one.
    let prefixed = digits.len() < text.len();
    let misplaced = digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !prefixed);
    let digits = digits.replace('_', "");
    if misplaced || digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(PARSE_ERROR);
    }
    u64::from_str_radix(&digits, radix).map_err(|_| OUT_OF_RANGE)
}

/// Source: Go's `strconv.ParseInt(text, 0, 64)`.
fn parse_int(text: &str) -> Result<i64, &'static str> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = i128::from(parse_uint(digits)?);
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| OUT_OF_RANGE)
}

/// Whether Go's `time.ParseDuration` takes it: `1h30m`, `1.5s`, `-.5ms`, `0`.
fn is_duration(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return true;
    }
    let mut rest = unsigned;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(unit);
        let is_number = number.bytes().any(|b| b.is_ascii_digit()) && number.matches('.').count() <= 1;
        if !is_number || !["ns", "us", "µs", "μs", "ms", "s", "m", "h"].contains(&unit) {
            return false;
        }
        rest = next;
    }
    !unsigned.is_empty()
}

/// Source: etcd 2.3: `*`, or origins that Go's URL parser takes; they are compared as text afterwards. Spaces around one
/// do not count, and neither do empty ones.
fn parse_cors(text: &str) -> Result<Cors, String> {
    let origins: Vec<&str> = text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
    for origin in origins.iter().filter(|origin| **origin != "*") {
        super::urls::check_origin(origin).map_err(|fault| format!("Invalid CORS origin: {fault}"))?;
    }
    Ok(match origins[..] {
        [] => Cors::Off,
        _ if origins.contains(&"*") => Cors::Any,
        _ => Cors::Origins(origins.into_iter().map(str::to_owned).collect()),
    })
}

fn check_address(text: &str) -> Result<(), String> {
    let Some((host, port)) = super::urls::split_host_port(text) else {
        return Err(format!("address {text}: missing port in address"));
    };
    if host.parse::<IpAddr>().is_err() {
        return Err("bad IP in address specification".to_owned());
    }
    // Go only asks for an integer here and fails on a large one later; it is said at once instead.
    port.parse::<u16>().map(|_| ()).map_err(|_| "bad port in address specification".to_owned())
}

/// The URL that an address of etcd 0.4 stands for; it was checked by [`Kind::Address`].
pub(crate) fn address_url(address: &str, tls: bool, every_host: bool) -> Result<Urls, String> {
    let scheme = if tls { "https" } else { "http" };
    let (host, port) = super::urls::split_host_port(address).ok_or("bad address")?;
    let host = if every_host { "::" } else { host };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Url::parse(&format!("{scheme}://{host}:{port}")).map(Urls::from)
}

/// The most CPUs that the kernel's `cpu_set_t` can name.
const CPU_MAX: usize = 1024;

fn parse_cpus(text: &str) -> Option<Cpus> {
    if !text.contains([',', '-']) {
        return parse_uint(text).ok().map(Cpus::Count);
    }
    let mut cpus = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CPU_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    (!cpus.is_empty()).then_some(Cpus::List(cpus))
}

/// A text in double quotes, as Go's `%q` shows it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => {
                // Writing to a `String` cannot fail.
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against Go's `strconv`.
    #[test]
    fn integers_are_read_with_base_zero() {
        for (text, want) in [
            ("0", Ok(0)),
            ("100", Ok(100)),
            ("0x10", Ok(16)),
            ("0XfF", Ok(255)),
            ("010", Ok(8)),
            ("0o10", Ok(8)),
            ("0b101", Ok(5)),
            ("1_000", Ok(1000)),
            ("0x_ff", Ok(255)),
            ("0_7", Ok(7)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(OUT_OF_RANGE)),
            ("", Err(PARSE_ERROR)),
            ("0x", Err(PARSE_ERROR)),
            ("08", Err(PARSE_ERROR)),
            ("-1", Err(PARSE_ERROR)),
            ("+1", Err(PARSE_ERROR)),
            ("_1", Err(PARSE_ERROR)),
            ("1_", Err(PARSE_ERROR)),
            ("1__0", Err(PARSE_ERROR)),
            ("1.5", Err(PARSE_ERROR)),
            ("abc", Err(PARSE_ERROR)),
        ] {
            assert_eq!(parse_uint(text), want, "{text:?}");
        }
        for (text, want) in [
            ("-0x10", Ok(-16)),
            ("+7", Ok(7)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(OUT_OF_RANGE)),
            ("--1", Err(PARSE_ERROR)),
        ] {
            assert_eq!(parse_int(text), want, "{text:?}");
        }
    }

    #[test]
    fn durations_have_units() {
        for good in ["0", "5s", "1h30m", "1.5s", ".5ms", "-2h", "10µs", "0s"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "-", "5", "s", "1.2.3s", ".s", "5 s", "5d"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn executors_are_counted_or_listed() {
        for (text, want) in [
            ("4", Some(Cpus::Count(4))),
            ("0", Some(Cpus::Count(0))),
            ("0,2-3", Some(Cpus::List(vec![0, 2, 3]))),
            ("3,", Some(Cpus::List(vec![3]))),
            ("1-1,1", Some(Cpus::List(vec![1]))),
            ("3-1", None),
            ("0-1024", None),
            (",", None),
            ("a", None),
            ("1-", None),
        ] {
            assert_eq!(parse_cpus(text), want, "{text:?}");
        }
    }

    #[test]
    fn origins_are_a_star_or_urls() {
        let origins = |list: &[&str]| Ok(Cors::Origins(list.iter().map(|&origin| origin.to_owned()).collect()));
        for (text, want) in [
            ("", Ok(Cors::Off)),
            ("*", Ok(Cors::Any)),
            ("http://a.com,*", Ok(Cors::Any)),
            (" *", Ok(Cors::Any)),
            (" ,", Ok(Cors::Off)),
            (" a , http://b.com,", origins(&["a", "http://b.com"])),
            ("*,:bad%", Err("Invalid CORS origin: parse \":bad%\": missing protocol scheme".to_owned())),
            ("http://a.com,https://b.com:81", origins(&["http://a.com", "https://b.com:81"])),
            (":bad%", Err("Invalid CORS origin: parse \":bad%\": missing protocol scheme".to_owned())),
        ] {
            assert_eq!(parse_cors(text), want, "{text:?}");
        }
    }

    #[test]
    fn addresses_of_old_become_urls() {
        let url = |text, tls, every| address_url(text, tls, every).map(|urls| urls.to_string());
        assert_eq!(url("127.0.0.1:4001", false, false), Ok("http://127.0.0.1:4001".to_owned()));
        assert_eq!(url("127.0.0.1:4001", true, true), Ok("https://[::]:4001".to_owned()));
        assert_eq!(url("[::1]:4001", false, false), Ok("http://[::1]:4001".to_owned()));
        for (text, want) in [
            ("x", "address x: missing port in address"),
            ("a:1", "bad IP in address specification"),
            ("127.0.0.1:x", "bad port in address specification"),
        ] {
            assert_eq!(check_address(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn quotes_are_those_of_go() {
        assert_eq!(quote("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\x01é\"");
    }
}
