//! etcd's discovery: the members of a new cluster find each other through the keys of a cluster that is there already.
//!
//! [`join`] is for a member, [`watch`] for who wants to know the members and is none. [`enrol`] is what they do, without I/O
//! of its own; [`registry`] turns it into requests for the registry named by a [`token`], which [`wire`] sends. [`note`]
//! lets a member that was ended while it waited go on waiting.
//!
//! Everything here blocks, for as long as the others take: it runs before there is anything to serve, and a signal ends the
//! process meanwhile.

mod enrol;
pub(super) mod note;
mod registry;
mod token;
mod wire;

use std::thread;

use super::value::quote;
use super::{Config, Exit, InitialCluster};
use crate::identity::MemberId;
use crate::logging::{self, LogLine, Severity};
use enrol::{Candidate, Fault, Visit};
use note::Note;
use registry::{Registry, Wire};
use token::Token;

/// How a cluster is discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discovery {
    /// `--discovery`: the URL of the registry.
    pub(crate) url: String,
    /// `--discovery-proxy`: through which HTTP proxy it is reached.
    pub(crate) proxy: Option<String>,
    /// `--discovery-fallback`: who finds no place becomes a proxy.
    pub(crate) falls_back: bool,
}

/// What a member finds.
#[derive(Debug)]
pub(super) enum Place {
    /// Its cluster, itself included.
    Member(InitialCluster),
    /// The cluster of the others, which has no place for it.
    Full(InitialCluster),
}

/// Registers this member and waits until all are there.
pub(super) fn join(config: &Config, discovery: &Discovery) -> Result<Place, Exit> {
    let token = Token::parse(&discovery.url).map_err(|text| failed(config, discovery, Fault::Refused(text)))?;
    let wire = open(&token, discovery).map_err(|text| failed(config, discovery, Fault::Refused(text)))?;
    let id = MemberId::at_bootstrap(&config.advertise_peer.texts(), &discovery.url).to_string();
    let note = Note::new(config, &discovery.url, &id);
    let came_before = note.is_there();
    let enrolled = enrolled(config, &id, &note, visit(&token, &wire)).and_then(without_duplicates);
    if enrolled.as_ref().is_err_and(|fault| !fault.leaves_a_place(came_before)) {
        note.undo()?;
    }
    match enrolled {
        Ok(cluster) => Ok(Place::Member(cluster)),
        Err(Fault::Full) if discovery.falls_back => {
            logging::emit(&LogLine::new(Severity::Notice, "etcdmain", "discovery cluster full, falling back to proxy"));
            seen(&token, &wire).map(Place::Full)
        }
        Err(fault) => Err(failed(config, discovery, fault)),
    }
}

/// The members, as soon as all are there, without being one of them.
pub(super) fn watch(discovery: &Discovery) -> Result<InitialCluster, Exit> {
    let fatal = |text| Exit::critical("etcdmain", text);
    let token = Token::parse(&discovery.url).map_err(fatal)?;
    let wire = open(&token, discovery).map_err(fatal)?;
    seen(&token, &wire)
}

fn open<'a>(token: &'a Token, discovery: &Discovery) -> Result<wire::Http<'a>, String> {
    let proxy = discovery.proxy.as_deref().map(wire::proxy_at).transpose()?;
    if let Some(proxy) = &proxy {
        let text = format!("using proxy {}", quote(proxy.as_str()));
        logging::emit(&LogLine::new(Severity::Info, "discovery", text));
    }
    Ok(wire::Http::new(token, proxy))
}

fn enrolled(config: &Config, id: &str, note: &Note, mut visit: Visit<'_>) -> Result<InitialCluster, Fault> {
    let value = InitialCluster::of_one(&config.name, config.advertise_peer.clone()).to_string();
    let candidate = Candidate { id, value: &value, came_before: note.is_there(), note: &|| note.write() };
    cluster(&visit.join(&candidate)?)
}

fn seen(token: &Token, wire: &dyn Wire) -> Result<InitialCluster, Exit> {
    let values = visit(token, wire).watch();
    let seen = values.and_then(|values| cluster(&values));
    seen.map_err(|fault| Exit::critical("etcdmain", fault.to_string()))
}

fn visit<'a>(token: &'a Token, wire: &'a dyn Wire) -> Visit<'a> {
    Visit { registry: Registry { token, wire }, pause: &thread::sleep, say: &logging::emit, failures: 0 }
}

/// What was registered, as one cluster of as many members.
fn cluster(values: &[String]) -> Result<InitialCluster, Fault> {
    let cluster = InitialCluster::parse(&values.join(",")).map_err(|_| Fault::InvalidUrl)?;
    if cluster.members().count() == values.len() { Ok(cluster) } else { Err(Fault::DuplicateName) }
}

fn without_duplicates(cluster: InitialCluster) -> Result<InitialCluster, Fault> {
    if cluster.duplicate_url() { Err(Fault::DuplicateUrl(cluster.to_string())) } else { Ok(cluster) }
}

/// The last words of a member without a place. Source: etcd 2.3.
fn failed(config: &Config, discovery: &Discovery, fault: Fault) -> Exit {
    let Config { name, data_dir, .. } = config;
    let url = &discovery.url;
    let lines = match fault {
        Fault::Local(exit) => return exit,
        fault @ Fault::DuplicateUrl(_) => return Exit::critical("etcdmain", fault.to_string()),
        Fault::DuplicateId => vec![
            (
                Severity::Error,
                format!("member {} has previously registered with discovery service token ({url}).", quote(name)),
            ),
            (
                Severity::Error,
                format!(
                    "But etcd could not find valid cluster configuration in the given data dir ({}).",
                    data_dir.display()
                ),
            ),
            (Severity::Info, "Please check the given data dir path if the previous bootstrap succeeded".to_owned()),
            (Severity::Info, "or use a new discovery token if the previous bootstrap failed.".to_owned()),
        ],
        Fault::DuplicateName => vec![
            (
                Severity::Error,
                format!("member with duplicated name has registered with discovery service token({url})."),
            ),
            (Severity::Error, "please check (cURL) the discovery token for more information.".to_owned()),
            (
                Severity::Error,
                "please do not reuse the discovery token and generate a new one to bootstrap the cluster.".to_owned(),
            ),
        ],
        fault => vec![
            (Severity::Error, format!("failed to join discovery cluster ({fault})")),
            (Severity::Info, format!("discovery token {url} was used, but failed to bootstrap the cluster.")),
            (Severity::Info, "please generate a new discovery token and try to bootstrap again.".to_owned()),
        ],
    };
    let line = |(severity, text)| LogLine::new(severity, "etcdmain", text);
    Exit { status: 1, log: lines.into_iter().map(line).collect(), ..Exit::default() }
}
