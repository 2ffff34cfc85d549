//! Members that DNS names.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use super::{is_one_cluster, leaves_nothing, nowhere};
use crate::harness::{Ended, Flavor, PATIENCE, Plan, Server, eventually, need, uetcd_only};

/// A name server on loopback that knows `.test`.
struct Dns {
    child: Child,
    port: u16,
}

impl Dns {
    /// With these SRV records: service, host, port.
    fn start(records: &[(&str, &str, u16)]) -> Self {
        need("dnsmasq");
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let records =
            records.iter().map(|(service, host, port)| format!("--srv-host={service}._tcp.example.test,{host},{port}"));
        let child = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--local=/test/",
                "--pid-file=",
            ])
            .args([&format!("--port={port}"), "--listen-address=127.0.0.1", "--bind-interfaces", "--user="])
            .args(records)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq starts");
        let dns = Self { child, port };
        // Taken: then it listens.
        eventually("dnsmasq listens", PATIENCE, || UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err().then_some(()));
        dns
    }

    /// A member to be that asks it; `host` is how it names itself.
    fn member(&self, name: &str, plan: &Plan, host: &str) -> Plan {
        let url = peer_url(plan, host);
        let plan = plan.clone().named(name).bootstrapped_by("--discovery-srv", "example.test");
        let plan = plan.env("UETCD_RESOLVER", &format!("127.0.0.1:{}", self.port));
        plan.args(["--initial-advertise-peer-urls", &url])
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peer_url(plan: &Plan, host: &str) -> String {
    plan.peer_url().replace("127.0.0.1", host)
}

fn peer_port(plan: &Plan) -> u16 {
    let url = plan.peer_url();
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn refused(plan: &Plan) -> Ended {
    let ended = plan.launch().wait();
    assert_eq!(ended.code(), 1, "{ended:?}");
    leaves_nothing(plan);
    ended
}

#[test]
fn members_are_found_in_dns() {
    uetcd_only!("etcd 3.4 looks for its members in https only");
    let plans: Vec<Plan> = (0..3).map(|_| Plan::of(Flavor::Uetcd).on_quiet_ports()).collect();
    let records: Vec<_> = plans.iter().map(|plan| ("_etcd-server", "localhost", peer_port(plan))).collect();
    let dns = Dns::start(&records);
    let names = ["infra0", "infra1", "infra2"];
    let members: Vec<Server> =
        names.iter().zip(&plans).map(|(name, plan)| dns.member(name, plan, "localhost").launch()).collect();
    is_one_cluster(&members);
    let log = members[0].log();
    let want = format!("N | discovery: got bootstrap from DNS for etcd-server at {}", peer_url(&plans[1], "localhost"));
    assert!(log.contains(&want), "{want}: {log}");
    let listed = members[1].client().get("/v2/members").json();
    let mut found: Vec<String> =
        (0..3).map(|at| listed["members"][at]["name"].as_str().unwrap_or_default().to_owned()).collect();
    found.sort_unstable();
    assert_eq!(found, names, "each publishes its own name");

    // Nobody asks again.
    drop(dns);
    let plans: Vec<Plan> = members.into_iter().map(Server::kill).collect();
    let members: Vec<Server> = plans.iter().map(Plan::launch).collect();
    is_one_cluster(&members);
    assert!(members[0].log().contains("DNS SRV discovery ignored since a cluster has already been initialized."));
}

#[test]
fn a_suffix_names_other_records() {
    uetcd_only!("etcd 3.4 looks for its members in https only");
    let plan = Plan::of(Flavor::Uetcd).on_quiet_ports();
    let dns = Dns::start(&[("_etcd-server-blue", "localhost", peer_port(&plan))]);
    // `-discovery-srv`, `-discovery-srv-name`, `-name` and all the others.
    let member = dns.member("a", &plan, "localhost").args(["--discovery-srv-name", "blue"]).with_single_dashes();
    is_one_cluster(&[member.launch()]);
}

#[test]
fn records_that_do_not_fit_are_refused() {
    uetcd_only!("etcd asks the system's name server");
    let plan = Plan::of(Flavor::Uetcd).on_quiet_ports();
    let dns = Dns::start(&[]);
    let said = refused(&dns.member("a", &plan, "localhost")).stderr;
    for want in [
        "W | discovery: error querying DNS SRV records for _etcd-server-ssl lookup _etcd-server-ssl._tcp.example.test: no such host",
        "E | discovery: SRV discovery failed: too many errors querying DNS SRV records",
        "C | etcdmain: error setting up initial cluster: lookup _etcd-server._tcp.example.test: no such host",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }

    let dns = Dns::start(&[("_etcd-server", "localhost", 1)]);
    let said = refused(&dns.member("a", &plan, "localhost")).stderr;
    let want = "C | etcdmain: error setting up initial cluster: cannot find local etcd member \"a\" in SRV records";
    assert!(said.contains(want), "{said}");

    let own = peer_port(&plan);
    let dns = Dns::start(&[("_etcd-server", "localhost", own), ("_etcd-server", "nowhere.invalid", 1)]);
    let said = refused(&dns.member("a", &plan, "localhost")).stderr;
    assert!(said.contains("W | discovery: couldn't resolve host nowhere.invalid:1 during SRV discovery"), "{said}");
    assert!(said.contains("1 of 2 hosts in the SRV records of example.test have no address"), "{said}");

    let dns = Dns::start(&[("_etcd-server", "localhost", own), ("_etcd-server", "localhost", own)]);
    let said = refused(&dns.member("a", &plan, "localhost")).stderr;
    assert!(said.contains("I | etcdmain: --initial-cluster must include a=http://localhost:"), "{said}");

    // Members that speak TLS alone, and beside others.
    for records in [
        &[("_etcd-server-ssl", "localhost", own)][..],
        &[("_etcd-server-ssl", "localhost", 1), ("_etcd-server", "localhost", own)],
    ] {
        let dns = Dns::start(records);
        let said = refused(&dns.member("a", &plan, "localhost")).stderr;
        let want = "N | discovery: got bootstrap from DNS for etcd-server-ssl at https://localhost:";
        assert!(said.contains(want), "{said}");
        assert!(said.contains("C | etcdmain: TLS (https://localhost:"), "{said}");
    }

    let dns = Dns::start(&[]);
    let said = refused(&dns.member("a", &plan, "localhost").args(["--proxy", "on"])).stderr;
    assert!(said.contains("E | discovery: SRV discovery failed: too many errors querying DNS SRV records"), "{said}");
    let said = refused(&dns.member("a", &plan, "nowhere.invalid")).stderr;
    assert!(said.contains("couldn't resolve host nowhere.invalid:"), "{said}");
    assert!(said.contains("C | etcdmain: error setting up initial cluster: lookup nowhere.invalid"), "{said}");
}

#[test]
fn whoever_has_lost_its_data_does_not_found_again() {
    uetcd_only!("etcd 3.4 looks for its members in https only");
    let plans: Vec<Plan> = (0..2).map(|_| Plan::of(Flavor::Uetcd).on_quiet_ports()).collect();
    let records: Vec<_> = plans.iter().map(|plan| ("_etcd-server", "localhost", peer_port(plan))).collect();
    let dns = Dns::start(&records);
    let plans: Vec<Plan> =
        ["a", "b"].iter().zip(&plans).map(|(name, plan)| dns.member(name, plan, "localhost")).collect();
    let mut members: Vec<Server> = plans.iter().map(Plan::launch).collect();
    is_one_cluster(&members);
    let lost = members.remove(0).kill();
    std::fs::remove_dir_all(lost.data()).expect("it is there");
    let said = refused(&lost).stderr;
    assert!(said.contains("has already been bootstrapped"), "{said}");
}

#[test]
fn a_name_server_that_is_not_there_is_said() {
    uetcd_only!("etcd asks the system's name server");
    let plan = Plan::of(Flavor::Uetcd).on_quiet_ports().bootstrapped_by("--discovery-srv", "example.test");
    let gone = nowhere();
    let said = refused(&plan.clone().env("UETCD_RESOLVER", &gone["http://".len()..])).stderr;
    assert!(said.contains("lookup _etcd-server._tcp.example.test: no name server can be reached"), "{said}");
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (at, _silent) = silent.expect("a free port");
    let said = refused(&plan.clone().env("UETCD_RESOLVER", &at.to_string())).stderr;
    assert!(said.contains("asking DNS for the SRV records of _etcd-server._tcp.example.test"), "{said}");
    assert!(said.contains("lookup _etcd-server._tcp.example.test: no answer from any name server"), "{said}");
    let said = refused(&plan.env("UETCD_RESOLVER", "nobody")).stderr;
    assert!(said.contains("no name server: UETCD_RESOLVER=\"nobody\" is not of the form IP:PORT"), "{said}");
}
