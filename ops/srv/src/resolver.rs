//! The question itself, put through `hickory-resolver` on a runtime that lives as long as the question.

use std::net::SocketAddr;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, ResolverBuilder};

use super::connected::Connected;
use super::{Error, Patience, Target};

/// The targets of a name, in any order. `server`: whom to ask instead of the system's name servers.
pub(super) fn targets(name: &str, server: Option<&str>, patience: Patience) -> Result<Vec<Target>, Error> {
    let shown = || name.to_owned();
    let mut builder = builder(server)?;
    let options = builder.options_mut();
    options.timeout = options.timeout.min(patience.once);
    let resolver = builder.build().map_err(|error| Error::NoResolver(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::NoResolver(error.to_string()))?;
    // The final dot: never below the domains that the system searches.
    let rooted = format!("{}.", name.trim_end_matches('.'));
    let found = runtime.block_on(async { tokio::time::timeout(patience.whole, resolver.srv_lookup(rooted)).await });
    let found = found.unwrap_or(Err(NetError::Timeout)).map_err(|error| match error {
        error if error.is_no_records_found() || error.is_nx_domain() => Error::NoRecords { name: shown() },
        error => Error::NoAnswer { name: shown(), reason: reason(&error) },
    })?;
    let targets: Vec<Target> = found
        .answers()
        .iter()
        .filter_map(|record| if let RData::SRV(srv) = &record.data { Some(srv) } else { None })
        // RFC 2782: a lone dot says that the service is decidedly not there.
        .filter(|srv| !srv.target.is_root())
        .map(|srv| Target {
            host: srv.target.to_ascii().trim_end_matches('.').to_owned(),
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
        })
        .collect();
    if targets.is_empty() { Err(Error::NoRecords { name: shown() }) } else { Ok(targets) }
}

fn builder(server: Option<&str>) -> Result<ResolverBuilder<Connected>, Error> {
    let provider = Connected::default();
    let Some(server) = server else {
        return Resolver::builder(provider).map_err(|error| Error::NoResolver(error.to_string()));
    };
    let server: SocketAddr = server
        .parse()
        .map_err(|_| Error::NoResolver(format!("{}=\"{server}\" is not of the form IP:PORT", super::RESOLVER)))?;
    let mut named = NameServerConfig::udp_and_tcp(server.ip());
    named.connections.iter_mut().for_each(|connection| connection.port = server.port());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![named]);
    Ok(Resolver::builder_with_config(config, provider))
}

/// In the words of Go where it has any.
fn reason(error: &NetError) -> String {
    match error {
        NetError::Timeout => "no answer from any name server".to_owned(),
        NetError::NoConnections => "no name server can be reached".to_owned(),
        NetError::Dns(_) => "server misbehaving".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    const PATIENCE: Patience = Patience { once: Duration::from_secs(2), whole: Duration::from_secs(5) };

    /// Priority, weight, port, labels of the target.
    type Record = (u16, u16, u16, &'static [u8]);

    /// Decidedly not there.
    const NOWHERE: Record = (0, 0, 0, b"\x00");

    /// Answers every question with this code and these records.
    fn server(code: u8, records: &'static [Record]) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("is bound").to_string();
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question) {
                let answer = answer(&question[..length], code, records);
                socket.send_to(&answer, client).expect("is sent");
            }
        });
        address
    }

    fn answer(question: &[u8], code: u8, records: &[Record]) -> Vec<u8> {
        const HEADER: usize = 12;
        let name = question[HEADER..].iter().position(|byte| *byte == 0).expect("a whole name") + 1;
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        answer.extend_from_slice(&question[HEADER..HEADER + name + 4]);
        for (priority, weight, port, target) in records {
            // The name of the question, SRV, IN, a minute.
            answer.extend([0xc0, HEADER as u8, 0, 33, 0, 1, 0, 0, 0, 60]);
            answer.extend((6 + target.len() as u16).to_be_bytes());
            answer.extend([priority, weight, port].into_iter().flat_map(|number| number.to_be_bytes()));
            answer.extend_from_slice(target);
        }
        answer
    }

    #[test]
    fn records_become_targets() {
        let at = server(0, &[(2, 0, 2380, b"\x06infra0\x04test\x00"), (1, 5, 2381, b"\x06infra1\x00")]);
        let found = targets("_etcd-server._tcp.example.test.", Some(&at), PATIENCE).expect("an answer");
        let target = |host: &str, port, priority, weight| Target { host: host.to_owned(), port, priority, weight };
        assert_eq!(found, [target("infra0.test", 2380, 2, 0), target("infra1", 2381, 1, 5)]);
    }

    #[test]
    fn what_is_not_there_is_told_from_what_went_wrong() {
        let name = || "_x._tcp.example.test".to_owned();
        for (what, code, records, want) in [
            ("no such name", 3, &[][..], Error::NoRecords { name: name() }),
            ("no records", 0, &[], Error::NoRecords { name: name() }),
            ("a lone dot", 0, &[NOWHERE], Error::NoRecords { name: name() }),
            ("a failure", 2, &[], Error::NoAnswer { name: name(), reason: "server misbehaving".to_owned() }),
        ] {
            let at = server(code, records);
            assert_eq!(targets("_x._tcp.example.test", Some(&at), PATIENCE), Err(want), "{what}");
        }
        let want = "no name server: UETCD_RESOLVER=\"nowhere\" is not of the form IP:PORT";
        assert_eq!(targets("x.", Some("nowhere"), PATIENCE).expect_err("no address").to_string(), want);
    }

    #[test]
    fn a_server_that_is_not_there_or_says_nothing_is_not_waited_for() {
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let closed =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
        let at = silent.local_addr().expect("is bound").to_string();
        let patience = Patience { once: Duration::from_millis(100), whole: Duration::from_millis(300) };
        for (at, patience, why) in
            [(at, patience, "no answer from any name server"), (closed, PATIENCE, "no name server can be reached")]
        {
            let began = Instant::now();
            let want = Error::NoAnswer { name: "_x._tcp.test".to_owned(), reason: why.to_owned() };
            assert_eq!(targets("_x._tcp.test", Some(&at), patience), Err(want));
            assert!(began.elapsed() < Duration::from_secs(2), "{why}: {:?}", began.elapsed());
        }
    }
}
