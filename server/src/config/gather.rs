//! Who the members of a cluster are, where the command line does not name them.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::srv::Patience;
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::discovery::{self, Place};
use super::srv::{self, Asker, Dns, Srv};
use super::{Bootstrap, Config, Exit, InitialCluster};
use crate::logging::{self, LogLine, Severity};

/// For name servers, with each of the two services. etcd waits for 10 s.
const PATIENCE: Patience = Patience { once: Duration::from_secs(2), whole: Duration::from_secs(5) };

/// What is known then.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// The members stand in the configuration, as if `--initial-cluster` had named them.
    Named(Box<Config>),
    /// The cluster has no place for this member, which is to become a proxy of it.
    Full {
        /// Unchanged.
        config: Box<Config>,
        /// The members.
        cluster: InitialCluster,
    },
}

/// Asks the discovery service, or DNS, as the configuration of a member says. To be called while there is no data, and before
/// signals are handled: it may take as long as the others take to come, and a signal ends the process meanwhile. Lines of
/// the log are logged at once.
pub(crate) fn gather(config: Config) -> Result<Gathered, Exit> {
    let _mortal = Mortal::for_now();
    match &config.bootstrap {
        Bootstrap::Static(_) => Ok(Gathered::Named(Box::new(config))),
        Bootstrap::Srv(srv) => {
            let asker = Asker { name: &config.name, urls: Some(&config.advertise_peer) };
            let cluster = from_dns(srv, &asker)?;
            Ok(named(cluster, config.cluster_token.clone(), config))
        }
        Bootstrap::Discovery(_) if config.join_existing => {
            Err(Exit::critical("etcdmain", "discovery URL should not be set when joining existing initial cluster"))
        }
        Bootstrap::Discovery(discovery) => match discovery::join(&config, discovery)? {
            Place::Member(cluster) => Ok(named(cluster, discovery.url.clone(), config)),
            Place::Full(cluster) => Ok(Gathered::Full { config: Box::new(config), cluster }),
        },
    }
}

/// The members, for a proxy, which is none. As [`gather`] otherwise.
pub(crate) fn look(config: &Config) -> Result<InitialCluster, Exit> {
    let _mortal = Mortal::for_now();
    match &config.bootstrap {
        Bootstrap::Static(cluster) => Ok(cluster.clone()),
        Bootstrap::Srv(srv) => from_dns(srv, &Asker { name: &config.name, urls: None }),
        Bootstrap::Discovery(discovery) => discovery::watch(discovery),
    }
}

fn from_dns(srv: &Srv, asker: &Asker<'_>) -> Result<InitialCluster, Exit> {
    let mut log = Vec::new();
    let records = |service: &str, domain: &str| {
        let text = format!("asking DNS for the SRV records of _{service}._tcp.{domain}");
        logging::emit(&LogLine::new(Severity::Info, "discovery", text));
        ::srv::lookup(service, domain, PATIENCE)
    };
    let cluster = srv::cluster(srv, asker, &Dns { records: &records, address: &address }, &mut log);
    log.iter().for_each(logging::emit);
    cluster
}

fn named(cluster: InitialCluster, cluster_token: String, config: Config) -> Gathered {
    Gathered::Named(Box::new(Config { bootstrap: Bootstrap::Static(cluster), cluster_token, ..config }))
}

/// Source: Go, which takes the first IPv4 address, if there is one.
fn address(host: &str, port: u16) -> Option<SocketAddr> {
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().ok()?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
}

/// While it lives, signals end the process. They do that by themselves, except for pid 1, which the kernel spares.
struct Mortal(Vec<SigId>);

impl Mortal {
    fn for_now() -> Self {
        if std::process::id() != 1 {
            return Self(Vec::new());
        }
        let end_by = |signal: &i32| {
            let always = Arc::new(AtomicBool::new(true));
            // Without it the signal is lost, as for any program that is pid 1 and has not thought of that.
            signal_hook::flag::register_conditional_shutdown(*signal, 0, always).ok()
        };
        Self([SIGTERM, SIGINT].iter().filter_map(end_by).collect())
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        for action in self.0.drain(..) {
            signal_hook::low_level::unregister(action);
        }
    }
}
