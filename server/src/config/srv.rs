//! The members of a new cluster as DNS names them: `_etcd-server-ssl._tcp` and `_etcd-server._tcp` below `--discovery-srv`.
//!
//! Source: etcd 2.3. Not etcd's: a record whose host has no address is not skipped, for members that skip different ones
//! would found different clusters; and a number that stands for a name is never this member's own name.

use std::net::SocketAddr;

use ::srv::Target;

use super::urls::{Endpoint, Url, Urls};
use super::{Exit, InitialCluster};
use crate::logging::{LogLine, Severity};

/// Where the records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Srv {
    /// `--discovery-srv`.
    pub(crate) domain: String,
    /// `--discovery-srv-name`: a suffix of the service's name; may be empty.
    pub(crate) suffix: String,
}

/// Who asks.
pub(super) struct Asker<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its peer URLs, by whose addresses it finds itself; none: it is no member.
    pub(super) urls: Option<&'a Urls>,
}

/// Asks for the records of a service and a domain.
pub(super) type Records<'a> = &'a dyn Fn(&str, &str) -> Result<Vec<Target>, ::srv::Error>;

/// What is asked of the network.
pub(super) struct Dns<'a> {
    /// The records of a service and a domain.
    pub(super) records: Records<'a>,
    /// The address of a host and a port.
    pub(super) address: &'a dyn Fn(&str, u16) -> Option<SocketAddr>,
}

/// The cluster that DNS describes. What is to be logged is added to `log`.
pub(super) fn cluster(
    srv: &Srv,
    asker: &Asker<'_>,
    dns: &Dns<'_>,
    log: &mut Vec<LogLine>,
) -> Result<InitialCluster, Exit> {
    let own = own_addresses(asker, dns)?;
    let found = records(srv, dns, log)?;
    let (mut pieces, mut numbers) = (Vec::new(), (0_u64..).map(|number| number.to_string()));
    for Record { service, scheme, target, address } in found {
        let host = host_port(&target.host, target.port);
        let is_own = own.contains(&address);
        let mut other = || numbers.find(|number| number != asker.name).unwrap_or_default();
        let name = if is_own { asker.name.to_owned() } else { other() };
        let text = format!("got bootstrap from DNS for {service} at {scheme}://{host}");
        log.push(LogLine::new(Severity::Notice, "discovery", text));
        pieces.push((is_own, format!("{name}={scheme}://{host}")));
    }
    if asker.urls.is_some() && !pieces.iter().any(|(is_own, _)| *is_own) {
        return Err(fatal(&format!("cannot find local etcd member \"{}\" in SRV records", asker.name)));
    }
    let pieces: Vec<String> = pieces.into_iter().map(|(_, piece)| piece).collect();
    InitialCluster::parse(&pieces.join(",")).map_err(|text| fatal(&text))
}

/// A record whose host has an address.
struct Record {
    service: String,
    scheme: &'static str,
    target: Target,
    address: SocketAddr,
}

fn own_addresses(asker: &Asker<'_>, dns: &Dns<'_>) -> Result<Vec<SocketAddr>, Exit> {
    let resolved = |url: &Url| match url.endpoint() {
        Endpoint::Unix(_) => None,
        Endpoint::Tcp(host, port) => Some((dns.address)(host, *port).ok_or_else(|| {
            let at = url.host_port();
            let line = format!("couldn't resolve host {at} during SRV discovery");
            fatal(&format!("lookup {host}: no such host")).after(&[LogLine::new(Severity::Error, "discovery", line)])
        })),
    };
    asker.urls.into_iter().flatten().filter_map(resolved).collect()
}

/// Those of both services; that one of them is missing is no news.
fn records(srv: &Srv, dns: &Dns<'_>, log: &mut Vec<LogLine>) -> Result<Vec<Record>, Exit> {
    let (mut found, mut unresolved, mut errors) = (Vec::new(), 0, Vec::new());
    for (service, scheme) in [("etcd-server-ssl", "https"), ("etcd-server", "http")] {
        let suffix = if srv.suffix.is_empty() { String::new() } else { format!("-{}", srv.suffix) };
        let service = format!("{service}{suffix}");
        let targets = (dns.records)(&service, &srv.domain).unwrap_or_else(|error| {
            errors.push((service.clone(), error));
            Vec::new()
        });
        for target in targets {
            let Some(address) = (dns.address)(&target.host, target.port) else {
                let host = host_port(&target.host, target.port);
                let text = format!("couldn't resolve host {host} during SRV discovery");
                log.push(LogLine::new(Severity::Warning, "discovery", text));
                unresolved += 1;
                continue;
            };
            found.push(Record { service: service.clone(), scheme, target, address });
        }
    }
    if let [.., (_, last)] = &errors[..]
        && errors.len() == 2
    {
        let line = |(service, error): &(String, ::srv::Error)| {
            let text = format!("error querying DNS SRV records for _{service} {error}");
            LogLine::new(Severity::Warning, "discovery", text)
        };
        log.extend(errors.iter().map(line));
        let text = "SRV discovery failed: too many errors querying DNS SRV records";
        log.push(LogLine::new(Severity::Error, "discovery", text));
        return Err(fatal(&last.to_string()));
    }
    if unresolved > 0 {
        let all = found.len() + unresolved;
        return Err(fatal(&format!(
            "{unresolved} of {all} hosts in the SRV records of {} have no address",
            srv.domain
        )));
    }
    Ok(found)
}

fn host_port(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

fn fatal(text: &str) -> Exit {
    Exit::critical("etcdmain", format!("error setting up initial cluster: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::command::tests::lines;

    type Answers = &'static [(&'static str, &'static [(&'static str, u16)])];

    /// What DNS says in these tests: `hN` is 10.0.0.N.
    fn found(answers: Answers, suffix: &str, name: &str, urls: Option<&str>) -> (Result<String, String>, String) {
        let records = |service: &str, domain: &str| {
            let missing = || ::srv::Error::NoRecords { name: format!("_{service}._tcp.{domain}") };
            let (_, targets) = answers.iter().find(|(asked, _)| *asked == service).ok_or_else(missing)?;
            let target =
                |(host, port): &(&str, u16)| Target { host: (*host).to_owned(), port: *port, priority: 0, weight: 0 };
            Ok(targets.iter().map(target).collect())
        };
        let address = |host: &str, port| {
            let number: u8 = host.strip_prefix('h').and_then(|number| number.parse().ok())?;
            Some(SocketAddr::from(([10, 0, 0, number], port)))
        };
        let urls = urls.map(|urls| Urls::parse(urls).expect("valid"));
        let srv = Srv { domain: "d.test".to_owned(), suffix: suffix.to_owned() };
        let (asker, dns) = (Asker { name, urls: urls.as_ref() }, Dns { records: &records, address: &address });
        let mut log = Vec::new();
        let cluster = cluster(&srv, &asker, &dns, &mut log);
        (cluster.map(|cluster| cluster.to_string()).map_err(|exit| lines(&exit.log)), lines(&log))
    }

    #[test]
    fn records_become_members_with_numbers_for_names() {
        let three: Answers = &[("etcd-server", &[("h1", 2380), ("h2", 2380), ("h3", 2380)])];
        let (cluster, log) = found(three, "", "b", Some("http://h2:2380"));
        assert_eq!(cluster.as_deref(), Ok("0=http://h1:2380,1=http://h3:2380,b=http://h2:2380"));
        assert!(log.starts_with("N discovery: got bootstrap from DNS for etcd-server at http://h1:2380\n"), "{log}");
        // A name that is a number does not get the others' URLs.
        assert_eq!(
            found(three, "", "0", Some("http://h2:2380")).0.as_deref(),
            Ok("0=http://h2:2380,1=http://h1:2380,2=http://h3:2380")
        );
        assert_eq!(found(three, "", "p", None).0.as_deref(), Ok("0=http://h1:2380,1=http://h2:2380,2=http://h3:2380"));
    }

    #[test]
    fn both_services_count_and_a_suffix_names_others() {
        let both: Answers = &[("etcd-server-ssl", &[("h1", 1)]), ("etcd-server", &[("h2", 2)])];
        assert_eq!(found(both, "", "a", Some("http://h2:2")).0.as_deref(), Ok("0=https://h1:1,a=http://h2:2"));
        let named: Answers = &[("etcd-server-x", &[("h1", 1)])];
        assert_eq!(found(named, "x", "a", Some("http://h1:1")).0.as_deref(), Ok("a=http://h1:1"));
    }

    /// The texts are those of etcd 2.3.8, but for the last.
    #[test]
    fn what_does_not_fit_is_refused() {
        let setting_up = "C etcdmain: error setting up initial cluster:";
        let (none, log) = found(&[], "", "a", Some("http://h1:1"));
        assert_eq!(none, Err(format!("{setting_up} lookup _etcd-server._tcp.d.test: no such host\n")));
        let want = "W discovery: error querying DNS SRV records for _etcd-server-ssl lookup _etcd-server-ssl._tcp.d.test: no such host\n\
                    W discovery: error querying DNS SRV records for _etcd-server lookup _etcd-server._tcp.d.test: no such host\n\
                    E discovery: SRV discovery failed: too many errors querying DNS SRV records\n";
        assert_eq!(log, want);

        let (unknown, _) = found(&[], "", "a", Some("http://x:1"));
        let want = format!(
            "E discovery: couldn't resolve host x:1 during SRV discovery\n{setting_up} lookup x: no such host\n"
        );
        assert_eq!(unknown, Err(want));

        let two: Answers = &[("etcd-server", &[("h1", 1), ("x", 2)])];
        let others: Answers = &[("etcd-server", &[("h1", 1)])];
        let (absent, _) = found(others, "", "dx", Some("http://h1:2"));
        assert_eq!(absent, Err(format!("{setting_up} cannot find local etcd member \"dx\" in SRV records\n")));

        let (unresolved, log) = found(two, "", "a", Some("http://h1:1"));
        assert_eq!(
            unresolved,
            Err(format!("{setting_up} 1 of 2 hosts in the SRV records of d.test have no address\n"))
        );
        assert_eq!(log, "W discovery: couldn't resolve host x:2 during SRV discovery\n");
    }
}
