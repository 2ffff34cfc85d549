//! Asking the members who they are, at the start and from time to time.
//!
//! A thread of its own: it blocks, and the executors only look at the list that comes of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::cluster_file::ClusterFile;
use super::director::Director;
use super::own::Own;
use crate::config::{Proxying, Url, fetch, running};
use crate::logging::{self, LogLine, Severity};

/// How long each member may take to say who is in the cluster.
const MEMBERS: Duration = Duration::from_secs(10);
/// An interval from this on is for quiet times: without an endpoint the members are asked at once a second.
const LONG: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(1);

/// Keeps the director's list.
pub(super) struct Refresher {
    director: Arc<Director>,
    settings: Proxying,
    file: ClusterFile,
    /// Whom to ask.
    peers: Vec<Url>,
    own: Arc<Own>,
    /// What went wrong the last time, so that it is not said once a second.
    said: Vec<LogLine>,
}

impl Refresher {
    /// Asks `peers` first.
    pub(super) fn new(
        director: Arc<Director>,
        own: Arc<Own>,
        settings: Proxying,
        file: ClusterFile,
        peers: Vec<Url>,
    ) -> Self {
        Self { director, settings, file, peers, own, said: Vec::new() }
    }

    /// Asks until `stop` is closed.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        while stop.recv_timeout(self.pause()) == Err(RecvTimeoutError::Timeout) {
            self.refresh();
        }
    }

    fn pause(&self) -> Duration {
        let interval = self.settings.refresh_interval;
        if interval >= LONG && self.director.available().is_empty() { SOON } else { interval }
    }

    /// Asks once. If nobody answers there is nobody to send requests to, as with etcd.
    pub(super) fn refresh(&mut self) {
        let mut log = Vec::new();
        let found = running(&self.peers, MEMBERS, &fetch, &mut log);
        let (mut peers, mut clients) = (Vec::new(), Vec::new());
        if let Some(found) = &found {
            for member in &found.members {
                peers.extend(usable(&member.peer_urls, &mut log));
                clients.extend(usable(&member.client_urls, &mut log));
            }
        } else {
            log.push(warning("proxy: could not retrieve cluster information from the given urls".to_owned()));
        }
        self.leave_own_out(&mut clients, &mut log);
        if !peers.is_empty() {
            self.remember(peers, &mut log);
        }
        let texts: Vec<String> = clients.iter().map(|url| format!("\"{url}\"")).collect();
        if self.director.replace(clients) && !texts.is_empty() {
            tracing::info!(target: "proxy", "endpoints found [{}]", texts.join(" "));
        }
        if log != self.said {
            log.iter().for_each(logging::emit);
        }
        self.said = log;
    }

    /// Requests would go round, from the proxy to itself.
    fn leave_own_out(&self, clients: &mut Vec<Url>, log: &mut Vec<LogLine>) {
        let own = self.own.led_to(clients);
        clients.retain(|url| !own.contains(url));
        log.extend(own.iter().map(|url| {
            warning(format!("proxy: {url} is left out: a member advertises it, but this proxy listens there"))
        }));
    }

    /// The members of tomorrow are found through those of today.
    fn remember(&mut self, mut peers: Vec<Url>, log: &mut Vec<LogLine>) {
        peers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        let texts: Vec<String> = peers.iter().map(|url| url.as_str().to_owned()).collect();
        if let Err(error) = self.file.write(&texts) {
            let path = self.file.path();
            log.push(warning(format!("proxy: the cluster file {} can not be written: {error}", path.display())));
        }
        if peers != self.peers {
            let (before, now) = (shown(&self.peers), shown(&peers));
            tracing::info!(target: "etcdmain", "proxy: updated peer urls in cluster file from {before} to {now}");
            self.peers = peers;
        }
    }
}

/// The URLs that can be spoken to.
fn usable(urls: &[String], log: &mut Vec<LogLine>) -> Vec<Url> {
    let parsed = urls.iter().filter_map(|text| match Url::parse(text) {
        Ok(url) if url.scheme().is_tls() => {
            log.push(warning(format!("proxy: {url} is left out: uetcd speaks plain text")));
            None
        }
        Ok(url) => Some(url),
        Err(reason) => {
            log.push(warning(format!("proxy: a URL of a member is left out: {reason}")));
            None
        }
    });
    parsed.collect()
}

fn warning(text: String) -> LogLine {
    LogLine::new(Severity::Warning, "etcdmain", text)
}

/// As Go shows a list: `[a b]`.
pub(super) fn shown(urls: &[Url]) -> String {
    let texts: Vec<&str> = urls.iter().map(Url::as_str).collect();
    format!("[{}]", texts.join(" "))
}
