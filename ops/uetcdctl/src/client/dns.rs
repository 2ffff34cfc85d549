//! Endpoints from DNS: `_etcd-client-ssl._tcp.DOMAIN` and `_etcd-client._tcp.DOMAIN`.

use std::net::{IpAddr, SocketAddr};

use srv::Error;

/// The URLs of a domain's servers, those with TLS first. The hosts end with a dot, as DNS writes them.
///
/// # Errors
/// Why neither of the two names was found.
pub(crate) fn discover(domain: &str) -> Result<Vec<String>, String> {
    let find = |service: &str, scheme: &str| -> Result<Vec<String>, String> {
        let targets = srv::lookup(service, domain).map_err(|error| said(&error))?;
        Ok(targets.into_iter().map(|target| format!("{scheme}://{}.:{}", target.host, target.port)).collect())
    };
    match (find("etcd-client-ssl", "https"), find("etcd-client", "http")) {
        (Err(with), Err(without)) => Err(format!("dns lookup errors: {with} and {without}")),
        (with, without) => Ok([with.unwrap_or_default(), without.unwrap_or_default()].concat()),
    }
}

/// ` on SERVER:53`, for messages about names.
pub(super) fn on_server() -> String {
    let server = std::env::var(srv::RESOLVER).ok().or_else(|| first_name_server().map(|server| server.to_string()));
    server.map_or_else(String::new, |server| format!(" on {server}"))
}

/// In Go's words, which name the server.
fn said(error: &Error) -> String {
    match error {
        Error::NoRecords { name } => format!("lookup {name}{}: no such host", on_server()),
        Error::NoAnswer { name, reason } => format!("lookup {name}{}: {reason}", on_server()),
        Error::NoResolver(_) => error.to_string(),
    }
}

fn first_name_server() -> Option<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let mut addresses = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    Some((addresses.find_map(|ip| ip.trim().parse::<IpAddr>().ok())?, 53).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_server() {
        let name = || "_x._tcp.example".to_owned();
        let on = on_server();
        assert_eq!(said(&Error::NoRecords { name: name() }), format!("lookup _x._tcp.example{on}: no such host"));
        let error = Error::NoAnswer { name: name(), reason: "server misbehaving".to_owned() };
        assert_eq!(said(&error), format!("lookup _x._tcp.example{on}: server misbehaving"));
    }
}
