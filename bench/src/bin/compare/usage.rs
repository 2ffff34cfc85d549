//! Who has used the CPUs while something was measured: the server, its client, and whoever else runs on this machine.

use std::fs;
use std::time::Instant;

use crate::server::Server;

/// A measurement in progress.
pub(crate) struct Watch<'a> {
    server: &'a Server,
    begun: Instant,
    server_us: f64,
    busy_us: f64,
}

/// What was used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// The server's CPU time, user and system, in microseconds.
    pub(crate) server_us: f64,
    /// The share of the server's CPUs that neither it nor idleness took: above a few hundredths, the figures are not to be trusted.
    pub(crate) others: f64,
    pub(crate) wall_us: f64,
}

impl<'a> Watch<'a> {
    pub(crate) fn begin(server: &'a Server) -> Result<Self, String> {
        let (server_us, busy_us) = (server.process.cpu_us()?, busy_us(&server.cpus)?);
        Ok(Self { server, begun: Instant::now(), server_us, busy_us })
    }

    pub(crate) fn end(self) -> Result<Usage, String> {
        let wall_us = self.begun.elapsed().as_secs_f64() * 1e6;
        let server_us = self.server.process.cpu_us()? - self.server_us;
        let busy_us = busy_us(&self.server.cpus)? - self.busy_us;
        let others = (busy_us - server_us) / wall_us / self.server.cpus.len() as f64;
        // Ticks are counted apart for processes and CPUs, so that nobody may come out below nothing.
        Ok(Usage { server_us, others: others.max(0.0), wall_us })
    }
}

/// Microseconds for a tick of `/proc`.
pub(crate) fn tick_us() -> f64 {
    1e6 / rustix::param::clock_ticks_per_second() as f64
}

/// For how long CPUs were not idle, since the machine has started.
fn busy_us(cpus: &[usize]) -> Result<f64, String> {
    let stat = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    let ticks = cpus.iter().map(|&cpu| busy_ticks(&stat, cpu));
    let sum = ticks.sum::<Option<u64>>().ok_or("/proc/stat is not as expected")?;
    Ok(sum as f64 * tick_us())
}

/// `cpu0 user nice system idle iowait irq softirq steal ...`
fn busy_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let &[user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = fields.as_slice() else { return None };
    Some(user + nice + system + irq + softirq + steal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_nobodys() {
        let stat = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 1 2 3 100 50 4 5 6 0 0\ncpu10 9 0 0 0 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(busy_ticks(stat, 0), Some(21));
        assert_eq!(busy_ticks(stat, 10), Some(9));
        assert_eq!(busy_ticks(stat, 1), None);
    }
}
