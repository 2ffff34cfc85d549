//! Proxy mode: no member, but a door to all of them.
//!
//! [`run`] is all that others need. It learns the cluster from peer URLs ([`refresh`], [`cluster_file`]), keeps its members in
//! an order ([`director`], [`endpoint`]) without what leads back to itself ([`own`]), and starts one executor per core; each
//! accepts clients ([`connection`], [`client`]), decides what becomes of a request ([`plan`]), and sends on what is for a member
//! ([`forward`], [`upstream`]). Who hangs is found out by [`probe`], and whether there is a leader after a member has died by
//! [`leader`].
//!
//! A connection handles one request at a time. A request is read whole, within the limits that members have, and its answer
//! passes as it comes, so that a connection holds no more of it than one read.
//!
//! Behaviour and texts are those of etcd 2.3's proxy; what is different is in `docs/differences.md`.

mod client;
mod cluster_file;
mod connection;
mod director;
mod endpoint;
mod executor;
mod forward;
mod front;
mod leader;
mod own;
mod plan;
mod probe;
mod refresh;
mod upstream;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::prepare::{self, Role};
use crate::config::{self, Bootstrap, Config, Exit, InitialCluster, Url};
use crate::failure::{End, Fatal};
use crate::listen;
use crate::logging;
use crate::{Reason, ignore_stray_signals, signalled};
use cluster_file::ClusterFile;
use director::Director;
use executor::Seed;
use front::Shared;
use own::Own;
use refresh::{Refresher, shown};

/// Where a proxy without a cluster file learns of its cluster.
pub(crate) enum Source {
    /// From the flags: `--initial-cluster`, or its default, or whatever `--discovery` and `--discovery-srv` lead to.
    Flags,
    /// These are its members: it was full when this process wanted to become one. What its directory has of a member must
    /// hold no data.
    Cluster(InitialCluster),
}

/// Serves as a proxy until a signal comes. `io_uring` and locked memory have been looked after.
///
/// A cluster file that is there wins over `source`. Makes the directory once the client URLs are free, asks the members
/// once (that nobody answers is no reason not to start), binds, and serves.
pub(crate) fn run(config: Config, source: Source) -> Result<Reason, End> {
    let descriptors = prepare::descriptors()?;
    let mut file = ClusterFile::new(config.proxy_dir());
    let peers = peer_urls(&config, source, &mut file)?;
    let listening = prepare::proxy_ports(&config)?;
    prepare::proxy_directory(&config)?;
    let director = Arc::new(Director::new(Instant::now()));
    let own = Arc::new(Own::of(&config));
    let mut refresher = Refresher::new(Arc::clone(&director), Arc::clone(&own), config.proxying, file, peers);
    refresher.refresh();
    let mut listeners = listen::bind_all(&config, Role::Proxy).map_err(Fatal::Other)?;
    listening.iter().for_each(logging::emit);

    let cores = config.cores.len();
    // Each client may need a connection to a member.
    let connections = config.max_connections.unwrap_or(usize::MAX).min(descriptors as usize / 2).div_ceil(cores);
    let shared = Arc::new(Shared::new(config, director, own));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| Fatal::Other(format!("no signals: {error}")))?;
    ignore_stray_signals().map_err(|error| Fatal::Other(format!("no signals: {error}")))?;
    let (alive, ended) = channel();
    let mut executors = Vec::with_capacity(cores);
    for me in 0..cores {
        let listeners = std::mem::take(&mut listeners[me]);
        let seed = Seed { me, shared: Arc::clone(&shared), listeners, connections, alive: alive.clone() };
        executors.push(executor::start(seed)?);
    }
    drop(alive);
    let (stop, stopped) = channel();
    let refreshing = move || refresher.run(&stopped);
    // It may be in the middle of asking when the process ends: nobody waits for it.
    let thread = thread::Builder::new().name("uetcd-refresh".to_owned()).spawn(refreshing);
    thread.map_err(|error| Fatal::Other(format!("the members can not be asked: no thread: {error}")))?;
    // Whoever asked to be told is told; a failure leaves the supervisor to its timeout.
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    let reason = signalled(signals.forever().next().unwrap_or(SIGTERM));
    drop(stop);
    shared.stop();
    // Nothing is ever sent: it ends when the last executor has.
    let _ = ended.recv();
    for executor in executors {
        if executor.join().is_err() {
            return Err(Fatal::Other("an executor ended before its time".to_owned()).into());
        }
    }
    Ok(reason)
}

/// Whom to ask for the members: what the file says, or else `source`.
fn peer_urls(config: &Config, source: Source, file: &mut ClusterFile) -> Result<Vec<Url>, End> {
    let path = file.path();
    let path = path.display();
    if let Some(texts) = file.read()? {
        let what = match &config.bootstrap {
            Bootstrap::Static(_) => None,
            Bootstrap::Discovery(_) => Some("discovery token"),
            Bootstrap::Srv(_) => Some("DNS SRV discovery"),
        };
        if let Some(what) = what {
            tracing::warn!(
                target: "etcdmain",
                "{what} ignored since the proxy has already been initialized. Valid cluster file found at \"{path}\""
            );
        }
        let urls: Result<Vec<Url>, String> = texts.iter().map(|text| Url::parse(text)).collect();
        let urls = urls.map_err(|reason| Fatal::Other(format!("proxy: {path}: {reason}")))?;
        tracing::info!(target: "etcdmain", "proxy: using peer urls {} from cluster file \"{path}\"", shown(&urls));
        return plain(urls);
    }
    let cluster = match source {
        Source::Cluster(cluster) => cluster,
        Source::Flags => config::look(config)?,
    };
    let urls = cluster.members().flat_map(|(_, urls)| urls.iter().cloned()).collect::<Vec<Url>>();
    tracing::info!(target: "etcdmain", "proxy: using peer urls {} ", shown(&urls));
    plain(urls)
}

/// Those of a cluster that speaks plain text.
fn plain(urls: Vec<Url>) -> Result<Vec<Url>, End> {
    match urls.iter().find(|url| url.scheme().is_tls()) {
        Some(url) => Err(Exit::unsupported(&format!("TLS ({url})")).into()),
        None => Ok(urls),
    }
}
