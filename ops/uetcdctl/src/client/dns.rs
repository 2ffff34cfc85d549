//! Endpoints from DNS: `_etcd-client-ssl._tcp.DOMAIN` and `_etcd-client._tcp.DOMAIN`.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use srv::{Error, Patience, Target};

/// Whoever waits longer wants to know for what.
const SILENCE: Duration = Duration::from_secs(1);

/// The URLs of a domain's servers, those with TLS first. The hosts end with a dot, as DNS writes them. Both names are asked for
/// at a time; `slow` is told for whom it waits when that takes long.
///
/// # Errors
/// Why neither of the two names was found.
pub(crate) fn discover(domain: &str, patience: Patience, slow: impl FnOnce(&str)) -> Result<Vec<String>, String> {
    let ask = |service: &'static str| {
        let (sender, answer) = channel();
        let domain = domain.to_owned();
        // It ends by itself when its patience does.
        thread::spawn(move || sender.send(srv::lookup(service, &domain, patience)));
        answer
    };
    let (with, without) = (ask("etcd-client-ssl"), ask("etcd-client"));
    let first = match with.recv_timeout(SILENCE) {
        Err(RecvTimeoutError::Timeout) => {
            slow(&format!("waiting for an answer{}", on_server()));
            with.recv().expect("it sends before it ends")
        }
        answer => answer.expect("it sends before it ends"),
    };
    let urls = |scheme: &str, found: Result<Vec<Target>, Error>| -> Result<Vec<String>, String> {
        let targets = found.map_err(|error| said(&error))?;
        Ok(targets.into_iter().map(|target| format!("{scheme}://{}.:{}", target.host, target.port)).collect())
    };
    match (urls("https", first), urls("http", without.recv().expect("it sends before it ends"))) {
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
        Error::NoName { .. } | Error::NoResolver(_) => error.to_string(),
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
