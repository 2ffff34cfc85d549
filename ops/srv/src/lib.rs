//! Servers of a service, found through DNS SRV records: one blocking question at a time, for programs that ask before they
//! begin.
//!
//! [`lookup`] is all there is. It asks the name servers of `/etc/resolv.conf`, or the one named in [`RESOLVER`], and says
//! nothing about the addresses of what it finds: those are the business of the system's own resolver.

mod resolver;

use std::cmp::Reverse;

use thiserror::Error;

/// The variable that names a name server, as `IP:PORT`, to be asked instead of those of `/etc/resolv.conf`.
pub const RESOLVER: &str = "UETCD_RESOLVER";

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its host name, without the final dot.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Those with a lower one are to be tried first.
    pub priority: u16,
    /// Of those with the same priority, how much of the load it is to get.
    pub weight: u16,
}

/// Why there are no servers to tell of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The name has no SRV records, or is none.
    #[error("lookup {name}: no such host")]
    NoRecords {
        /// What was asked for.
        name: String,
    },
    /// No name server gave an answer that can be used.
    #[error("lookup {name}: {reason}")]
    NoAnswer {
        /// What was asked for.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// It is not known whom to ask.
    #[error("no name server: {0}")]
    NoResolver(String),
}

/// The servers of `_SERVICE._tcp.DOMAIN`, at least one, in the order in which they are to be tried: by priority, then the
/// heavier first, then by name. Blocks for as long as the system's settings let name servers take, 10 s if they say nothing.
///
/// The order is always the same, unlike that of RFC 2782, which draws lots: who founds a cluster wants all members to see
/// the same list.
pub fn lookup(service: &str, domain: &str) -> Result<Vec<Target>, Error> {
    // The final dot: never below the domains that the system searches.
    let name = format!("_{service}._tcp.{}.", domain.trim_end_matches('.'));
    let mut targets = resolver::targets(&name, std::env::var(RESOLVER).ok().as_deref())?;
    sort(&mut targets);
    Ok(targets)
}

fn sort(targets: &mut [Target]) {
    targets.sort_by(|a, b| {
        let rank = |target: &Target| (target.priority, Reverse(target.weight));
        rank(a).cmp(&rank(b)).then_with(|| (&a.host, a.port).cmp(&(&b.host, b.port)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_priority_then_weight_then_name() {
        let target = |host: &str, port, priority, weight| Target { host: host.to_owned(), port, priority, weight };
        let mut targets = [
            target("last", 1, 2, 9),
            target("b", 1, 1, 1),
            target("a", 2, 1, 1),
            target("a", 1, 1, 1),
            target("heavy", 1, 1, 5),
        ];
        sort(&mut targets);
        let names: Vec<String> = targets.iter().map(|target| format!("{}:{}", target.host, target.port)).collect();
        assert_eq!(names, ["heavy:1", "a:1", "a:2", "b:1", "last:1"]);
    }
}
