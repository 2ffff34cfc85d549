//! Endpoints from DNS: `_etcd-client-ssl._tcp.DOMAIN` and `_etcd-client._tcp.DOMAIN`.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

/// Longest wait for one name server, as in the C library.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that a UDP answer may have.
const ANSWER_BYTES_MAX: usize = 4096;

/// The URLs of a domain's servers, those with TLS first. The hosts end with a dot, as DNS writes them.
///
/// # Errors
/// Why neither of the two names was found.
pub(crate) fn discover(domain: &str) -> Result<Vec<String>, String> {
    let servers = name_servers();
    let find = |service: &str, scheme: &str| -> Result<Vec<String>, String> {
        let name = format!("_{service}._tcp.{domain}");
        let targets = ask_all(&servers, &name)?;
        Ok(targets.into_iter().map(|(host, port)| format!("{scheme}://{host}.:{port}")).collect())
    };
    match (find("etcd-client-ssl", "https"), find("etcd-client", "http")) {
        (Err(with), Err(without)) => Err(format!("dns lookup errors: {with} and {without}")),
        (with, without) => Ok([with.unwrap_or_default(), without.unwrap_or_default()].concat()),
    }
}

/// ` on SERVER:53`, for messages about names.
pub(super) fn on_server() -> String {
    name_servers().first().map_or_else(String::new, |server| format!(" on {server}"))
}

fn name_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let addresses = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let servers: Vec<_> =
        addresses.filter_map(|ip| ip.trim().parse::<IpAddr>().ok()).map(|ip| (ip, 53).into()).collect();
    if servers.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], 53))] } else { servers }
}

/// The first server that answers decides.
fn ask_all(servers: &[SocketAddr], name: &str) -> Result<Vec<(String, u16)>, String> {
    let mut error = String::new();
    for &server in servers {
        match ask(server, name) {
            Ok(Some(targets)) => return Ok(targets),
            Ok(None) => return Err(format!("lookup {name} on {server}: no such host")),
            Err(e) => error = format!("lookup {name} on {server}: {e}"),
        }
    }
    Err(error)
}

/// Hosts and ports in the order in which they are to be tried; `None` when there is no such name.
fn ask(server: SocketAddr, name: &str) -> io::Result<Option<Vec<(String, u16)>>> {
    let invalid = |e: simple_dns::SimpleDnsError| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let mut query = Packet::new_query(fastrand::u16(..));
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(Question::new(Name::new(name).map_err(invalid)?, TYPE::SRV.into(), CLASS::IN.into(), false));
    let question = query.build_bytes_vec().map_err(invalid)?;
    let mut answer = over_udp(server, &question)?;
    if Packet::parse(&answer).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION)) {
        answer = over_tcp(server, &question)?;
    }
    let packet = Packet::parse(&answer).map_err(invalid)?;
    if packet.rcode() != RCODE::NoError && packet.rcode() != RCODE::NameError {
        return Err(io::Error::other("server misbehaving"));
    }
    let mut found: Vec<_> = packet
        .answers
        .iter()
        .filter_map(|record| if let RData::SRV(srv) = &record.rdata { Some(srv) } else { None })
        .map(|srv| (srv.priority, std::cmp::Reverse(srv.weight), srv.target.to_string(), srv.port))
        .collect();
    found.sort();
    Ok((!found.is_empty()).then(|| found.into_iter().map(|(_, _, host, port)| (host, port)).collect()))
}

fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let from = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(question)?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer)?;
        // Anything else is a late answer to somebody's older question.
        if length > 2 && answer[..2] == question[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(question)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::SRV;

    /// Answers one question with these targets, or with "no such name" when there are none.
    fn server(targets: &'static [(u16, u16, &'static str, u16)]) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, client) = socket.recv_from(&mut buffer).expect("a question");
            let question = Packet::parse(&buffer[..length]).expect("a packet");
            let name = question.questions[0].qname.clone();
            let mut reply = Packet::new_reply(question.id());
            for &(priority, weight, target, port) in targets {
                let target = Name::new_unchecked(target);
                let record = RData::SRV(SRV { priority, weight, port, target });
                reply.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, record));
            }
            if targets.is_empty() {
                *reply.rcode_mut() = RCODE::NameError;
            }
            socket.send_to(&reply.build_bytes_vec().expect("fits"), client).expect("sent");
        });
        address
    }

    #[test]
    fn targets_come_by_priority_then_weight() {
        let at = server(&[(2, 0, "last", 1), (1, 5, "second", 2), (1, 9, "first.example", 3)]);
        let found = ask(at, "_etcd-client._tcp.example").expect("an answer").expect("targets");
        assert_eq!(found, [("first.example".into(), 3), ("second".into(), 2), ("last".into(), 1)]);
    }

    #[test]
    fn a_name_that_is_not_there_is_said() {
        let at = server(&[]);
        let want = format!("lookup _x._tcp.example on {at}: no such host");
        assert_eq!(ask_all(&[at], "_x._tcp.example"), Err(want));
    }
}
