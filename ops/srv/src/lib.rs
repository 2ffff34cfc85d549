//! Servers of a service, found through DNS SRV records: one blocking question at a time, for programs that ask before they
//! begin.
//!
//! [`lookup`] is all there is. It asks the name servers of `/etc/resolv.conf`, or the one named in [`RESOLVER`], and says
//! nothing about the addresses of what it finds: those are the business of the system's own resolver.

mod connected;
mod resolver;

use std::cmp::Reverse;
use std::time::Duration;

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

/// How long name servers are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For one answer, before the question is repeated.
    pub once: Duration,
    /// For all of it.
    pub whole: Duration,
}

/// Why there are no servers to tell of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// No name server is asked for what can not be a name.
    #[error("lookup {name}: no such host")]
    NoName {
        /// What was to be asked for.
        name: String,
    },
    /// The name has no SRV records.
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
/// heavier first, then by name. Blocks for as long as it has patience.
///
/// The order is always the same, unlike that of RFC 2782, which draws lots: who founds a cluster wants all members to see
/// the same list.
pub fn lookup(service: &str, domain: &str, patience: Patience) -> Result<Vec<Target>, Error> {
    let name = format!("_{service}._tcp.{domain}");
    if !is_name(&name) {
        return Err(Error::NoName { name });
    }
    let mut targets = resolver::targets(&name, std::env::var(RESOLVER).ok().as_deref(), patience)?;
    sort(&mut targets);
    Ok(targets)
}

/// What Go takes for a name: letters, digits, underscores, and hyphens that no label begins or ends with.
fn is_name(name: &str) -> bool {
    const NAME_MAX: usize = 253;
    const LABEL_MAX: usize = 63;
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= NAME_MAX && name.split('.').all(is_label)
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

    #[test]
    fn names_are_told_from_other_text() {
        for good in ["_x._tcp.a", "_x._tcp.a-b.c.", "127.0.0.1", &format!("{}.a", "a".repeat(63))] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["a b", "a..b", "a..", ".", "", ".a", "-a", "a-", "a/b", "ü", "*.a", &"a".repeat(64), &"a.".repeat(128)]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
