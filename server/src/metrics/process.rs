//! What the kernel knows about this process.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Figures of the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessStats {
    /// Processor time of all threads, in seconds, in user and kernel mode.
    pub(crate) cpu_seconds: f64,
    /// File descriptors open now.
    pub(crate) open_fds: u64,
    /// The most that may be open.
    pub(crate) max_fds: u64,
    /// Memory in use.
    pub(crate) resident_bytes: u64,
    /// That part of it which belongs to no file: heap, stacks, buffers.
    pub(crate) anonymous_bytes: u64,
    /// Address space in use.
    pub(crate) virtual_bytes: u64,
    /// When the process started, in seconds since the epoch.
    pub(crate) start_seconds: f64,
    /// Log lines dropped because the output did not keep up.
    pub(crate) log_lines_dropped: u64,
}

impl ProcessStats {
    /// Asks `/proc`. Blocks for some ten microseconds, and longer with many descriptors (about 1 ms for 10,000), so ask
    /// it for a scrape, not in every turn.
    pub(crate) fn read() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let limits = std::fs::read_to_string("/proc/self/limits")?;
        let memory = std::fs::read_to_string("/proc/self/statm")?;
        // One of them is the descriptor of the directory that is being read.
        let open_fds = (std::fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "/proc has a form that is not understood");
        let anonymous_bytes = anonymous_bytes(&memory, sizes()).ok_or_else(bad)?;
        let log_lines_dropped = crate::logging::dropped_lines();
        Self::parse(&stat, &uptime, &limits, sizes(), now)
            .map(|stats| Self { open_fds, anonymous_bytes, log_lines_dropped, ..stats })
            .ok_or_else(bad)
    }

    /// `now` since the epoch. Source: proc(5).
    fn parse(stat: &str, uptime: &str, limits: &str, sizes: Sizes, now: Duration) -> Option<Self> {
        // The program's name in parentheses may hold anything, so count from its end: the next field is the third.
        let (_, fields) = stat.rsplit_once(") ")?;
        let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
        let ticks = |number| Some(field(number)? as f64 / sizes.ticks_per_second);
        let up: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
        let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let soft = open_files.split_ascii_whitespace().next()?;
        Some(Self {
            cpu_seconds: ticks(14)? + ticks(15)?,
            open_fds: 0,
            max_fds: if soft == "unlimited" { u64::MAX } else { soft.parse().ok()? },
            resident_bytes: field(24)?.saturating_mul(sizes.page_bytes),
            anonymous_bytes: 0,
            virtual_bytes: field(23)?,
            start_seconds: now.as_secs_f64() - up + ticks(22)?,
            log_lines_dropped: 0,
        })
    }
}

/// What is resident without being of a file. Source: proc(5), `statm`: size, resident, shared, … in pages.
fn anonymous_bytes(statm: &str, sizes: Sizes) -> Option<u64> {
    let pages: Vec<u64> = statm.split_ascii_whitespace().take(3).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [_, resident, shared] = pages[..] else { return None };
    Some(resident.saturating_sub(shared).saturating_mul(sizes.page_bytes))
}

/// The units of the kernel's figures.
#[derive(Clone, Copy)]
struct Sizes {
    ticks_per_second: f64,
    page_bytes: u64,
}

fn sizes() -> Sizes {
    // SAFETY: `sysconf` only reads; both names exist on Linux, where it cannot fail for them.
    let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    Sizes { ticks_per_second: ticks as f64, page_bytes: u64::try_from(page).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_proc_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 1000 8192000 300 1844 1 1 0";
        let limits = "Limit Soft Hard\nMax open files            1024                 524288               files\n";
        let sizes = Sizes { ticks_per_second: 100.0, page_bytes: 4096 };
        let stats = ProcessStats::parse(stat, "110.00 3.00\n", limits, sizes, Duration::from_secs(1_000_000));
        let want = ProcessStats {
            cpu_seconds: 3.0,
            open_fds: 0,
            max_fds: 1024,
            resident_bytes: 300 * 4096,
            anonymous_bytes: 0,
            virtual_bytes: 8_192_000,
            start_seconds: 999_900.0,
            log_lines_dropped: 0,
        };
        assert_eq!(stats, Some(want));
        assert_eq!(ProcessStats::parse("", "", "", sizes, Duration::ZERO), None);
        assert_eq!(anonymous_bytes("2000 300 120 50 0 900 0\n", sizes), Some(180 * 4096));
        assert_eq!(anonymous_bytes("2000 300", sizes), None);
    }

    #[test]
    fn this_process_has_figures() {
        let stats = ProcessStats::read().expect("/proc is there");
        assert!((1..stats.resident_bytes).contains(&stats.anonymous_bytes), "{stats:?}");
        assert!(stats.open_fds > 2 && stats.open_fds < stats.max_fds && stats.resident_bytes > 0, "{stats:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        assert!((now - 3600.0..now + 1.0).contains(&stats.start_seconds), "{stats:?}");
    }
}
