//! The addresses to listen on, tried before anything else is done.
//!
//! The executors share each port with `SO_REUSEPORT`, under which a second server of the same user would be let in
//! without a word and take half of the connections. So each address is first bound without it, all at the same time. (Who
//! comes in the moment between is turned away by [`crate::listen`].)

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use super::super::urls::{Endpoint, Url};
use super::super::{Config, Exit, go_reason};
use crate::logging::{LogLine, Severity};

/// Binds every address and lets go of it. The result is what is to be logged once the server listens.
///
/// Source: etcd 2.3: peers first, then clients; after a failure what was opened is closed, with a line for each.
pub(crate) fn ports(config: &Config) -> Result<Vec<LogLine>, Exit> {
    let peers = config.listen_peer.iter().map(|url| (url, "peers"));
    let clients = config.listen_client.iter().map(|url| (url, "client requests"));
    try_all(peers.chain(clients).chain(metrics(config)), "")
}

/// The same for a proxy, which has no peers.
pub(crate) fn proxy_ports(config: &Config) -> Result<Vec<LogLine>, Exit> {
    let clients = config.listen_client.iter().map(|url| (url, "client requests"));
    try_all(clients.chain(metrics(config)), "proxy: ")
}

fn metrics(config: &Config) -> impl Iterator<Item = (&Url, &'static str)> {
    config.listen_metrics.iter().map(|url| (url, "metrics"))
}

fn try_all<'a>(urls: impl Iterator<Item = (&'a Url, &'static str)>, who: &str) -> Result<Vec<LogLine>, Exit> {
    let mut held = Vec::new();
    let mut log = Vec::new();
    for (url, whom) in urls {
        match hold(url) {
            Ok(listener) => {
                held.push((listener, format!("{who}stopping listening for {whom} on {url}")));
                log.push(line(format!("{who}listening for {whom} on {url}")));
            }
            Err(text) => {
                log.extend(held.into_iter().map(|(_, text)| line(text)));
                return Err(Exit::critical("etcdmain", text).after(&log));
            }
        }
    }
    Ok(log)
}

fn line(text: String) -> LogLine {
    LogLine::new(Severity::Info, "etcdmain", text)
}

/// A socket file is not tried: its last owner's is replaced, as etcd does.
fn hold(url: &Url) -> Result<Option<TcpListener>, String> {
    let Some(address) = url.listen_address()? else { return Ok(None) };
    let listener = bind_patiently(address);
    let named = shown(url, address);
    listener.map(Some).map_err(|error| format!("listen tcp {named}: bind: {}", go_reason(&error)))
}

/// Binds, and gives a predecessor that was killed a moment: the kernel takes apart the rings of a process, and with
/// them the sockets that they listened on, after the process is gone.
fn bind_patiently(address: SocketAddr) -> io::Result<TcpListener> {
    const MOMENT: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    loop {
        // The standard library sets SO_REUSEADDR, so that connections still closing do not count, and not SO_REUSEPORT.
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < MOMENT => thread::sleep(PAUSE),
            bound => return bound,
        }
    }
}

/// As Go shows it: an address as it was given, a name as what it stands for.
fn shown(url: &Url, address: SocketAddr) -> String {
    match url.endpoint() {
        Endpoint::Tcp(host, _) if !host.is_empty() && host.parse::<std::net::IpAddr>().is_err() => address.to_string(),
        _ => url.host_port().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::command::tests::config_of;

    fn texts(log: &[LogLine]) -> Vec<&str> {
        log.iter().map(|line| line.text.as_str()).collect()
    }

    /// Holds a port that was free.
    fn some_port() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("is bound").port();
        (listener, port)
    }

    #[test]
    fn a_taken_port_is_named_and_the_others_are_let_go() {
        let (held, taken) = some_port();
        let (_, free) = some_port();
        let (peer, client) = (format!("http://127.0.0.1:{free}"), format!("http://localhost:{taken}"));
        let flags = ["--listen-peer-urls", &peer, "--listen-client-urls", &client, "--advertise-client-urls", &client];
        let exit = ports(&config_of(&flags)).expect_err("taken");
        let want = [
            format!("listening for peers on {peer}"),
            format!("stopping listening for peers on {peer}"),
            format!("listen tcp 127.0.0.1:{taken}: bind: address already in use"),
        ];
        assert_eq!(exit.status, 1);
        assert_eq!(texts(&exit.log), want);

        drop(held);
        let log = ports(&config_of(&flags)).expect("both are free");
        let want = [format!("listening for peers on {peer}"), format!("listening for client requests on {client}")];
        assert_eq!(texts(&log), want);
    }

    #[test]
    fn the_same_url_twice_is_taken_by_itself() {
        let (_, port) = some_port();
        let url = format!("http://127.0.0.1:{port}");
        let flags = ["--listen-peer-urls", &url, "--listen-client-urls", &url, "--advertise-client-urls", &url];
        let exit = ports(&config_of(&flags)).expect_err("twice");
        let want = format!("listen tcp 127.0.0.1:{port}: bind: address already in use");
        assert_eq!(texts(&exit.log).last(), Some(&want.as_str()));
    }
}
