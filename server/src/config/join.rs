//! Joining a cluster that runs: who is in it is asked of its members, with `--initial-cluster` as the proof that the
//! right cluster is asked.
//!
//! Source: etcd 2.3, its checks and texts in its order. Not etcd's: the number of shards is asked for, too, and a cluster of etcd
//! itself is refused.

use std::time::Duration;

use serde::Deserialize;

use super::bootstrap::{Founder, Founding, InitialCluster, resolved};
use super::remote::Fetch;
use super::urls::{Url, Urls};
use super::{Config, Exit};
use crate::identity::{ClusterId, MemberId};
use crate::logging::{LogLine, Severity};

/// How long each member may take to say who is in the cluster.
const MEMBERS: Duration = Duration::from_secs(10);
/// How long each member may take to say its version.
const VERSION: Duration = Duration::from_secs(10);
/// The versions of a cluster that a member of this version can join.
const CLUSTER_VERSIONS: std::ops::RangeInclusive<(u64, u64)> = (2, 2)..=(2, 3);

/// A cluster as one of its members describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(super) id: ClusterId,
    pub(crate) members: Vec<RunningMember>,
}

/// One of its members: what stands in the answer to `/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RunningMember {
    pub(super) id: u64,
    #[serde(rename = "peerURLs")]
    pub(crate) peer_urls: Vec<String>,
    pub(super) name: String,
    #[serde(rename = "clientURLs")]
    pub(crate) client_urls: Vec<String>,
}

/// What stands in the answer to `/version`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    etcdcluster: String,
    uetcd: Option<String>,
    shards: Option<u16>,
}

/// Asks these peer URLs, in order, who is in the cluster; the first answer counts. What went wrong is added to `log`.
pub(crate) fn running(urls: &[Url], limit: Duration, fetch: Fetch<'_>, log: &mut Vec<LogLine>) -> Option<Running> {
    let warning = |text| LogLine::new(Severity::Warning, "etcdserver", text);
    urls.iter().find_map(|url| {
        let described = fetch(url, "/members", limit)
            .map_err(|reason| format!("could not get cluster response from {url}: {reason}"))
            .and_then(|answer| {
                let members = serde_json::from_slice(&answer.body)
                    .map_err(|error| format!("could not unmarshal cluster response: {error}"))?;
                let id = answer.cluster_id.unwrap_or_default();
                let id = u64::from_str_radix(&id, 16)
                    .map_err(|_| format!("could not parse the cluster ID from cluster res: invalid ID \"{id}\""))?;
                Ok(Running { id: ClusterId::from(id), members })
            });
        described.map_err(|text| log.push(warning(text))).ok()
    })
}

/// The peer URLs of all members but one, sorted.
pub(super) fn urls_of_others(initial: &InitialCluster, own: &str) -> Vec<Url> {
    let others = initial.members().filter(|(name, _)| *name != own);
    Urls::in_order(others.flat_map(|(_, urls)| urls.iter().cloned()).collect())
}

impl RunningMember {
    /// It has been there: it has said where its clients find it.
    fn has_started(&self) -> bool {
        !self.client_urls.is_empty()
    }
}

impl Running {
    /// The members, but for one, that have been there: whom that one may have promised something.
    fn started_others(&self, member: u64) -> Vec<u64> {
        let others = self.members.iter().filter(|other| other.id != member && other.has_started());
        others.map(|other| other.id).collect()
    }
}

/// Whom a member of a running cluster may have promised something, as the first of these peer URLs knows it; none: nobody
/// answers who has this member. What went wrong is added to `log`.
pub(crate) fn promised_to(
    (cluster, member): (ClusterId, MemberId),
    urls: &[Url],
    fetch: Fetch<'_>,
    log: &mut Vec<LogLine>,
) -> Option<Vec<u64>> {
    urls.iter().find_map(|url| {
        let running = running(std::slice::from_ref(url), MEMBERS, fetch, log)?;
        let knows = running.id == cluster && running.members.iter().any(|other| other.id == member.get());
        if !knows {
            let text = format!("{url} does not have member {member} of cluster {cluster}");
            log.push(LogLine::new(Severity::Warning, "etcdserver", text));
        }
        knows.then(|| running.started_others(member.get()))
    })
}

/// Who this member is in a cluster that runs.
pub(super) fn join(config: &Config, initial: &InitialCluster, fetch: Fetch<'_>) -> Result<Founding, Exit> {
    let mut log = Vec::new();
    let others = urls_of_others(initial, &config.name);
    let fatal = |log: &[LogLine], text: String| Exit::critical("etcdmain", text).after(log);
    let Some(running) = running(&others, MEMBERS, fetch, &mut log) else {
        let reason = "could not retrieve cluster information from the given urls";
        return Err(fatal(&log, format!("cannot fetch cluster info from peer urls: {reason}")));
    };
    let members = match_members(initial, &running)
        .map_err(|reason| fatal(&log, format!("error validating peerURLs {}: {reason}", shown(&running))))?;
    let own = members.iter().find(|member| member.name == config.name);
    let Some(local) = own.map(|member| member.id) else { return Err(fatal(&log, "the own name is gone".to_owned())) };
    let shards = shards(&members, local, fetch, &mut log).map_err(|text| fatal(&log, text))?;
    if let Some(given) = config.shards.filter(|given| *given != shards) {
        return Err(fatal(
            &log,
            format!(
                "--shards={given} was given, but the cluster has {shards} shards, and the number can not change: start without \
             --shards, or with --shards={shards}"
            ),
        ));
    }
    let mut promised_to = Vec::new();
    if running.members.iter().any(|member| member.id == local.get() && member.has_started()) {
        promised_to = running.started_others(local.get());
        log.push(LogLine::new(Severity::Warning, "etcdserver", format!(
            "member {local} has been in this cluster before and comes back without its data: it does not vote until it holds \
             what the others have"
        )));
    }
    Ok(Founding { cluster: running.id, local, members, shards, joined: true, promised_to, log })
}

/// The members of the flag with the ids that they have in the cluster.
fn match_members(initial: &InitialCluster, running: &Running) -> Result<Vec<Founder>, &'static str> {
    let mut theirs: Vec<&RunningMember> = running.members.iter().collect();
    let mut ours: Vec<(&str, &Urls)> = initial.members().collect();
    if theirs.len() != ours.len() {
        return Err("member count is unequal");
    }
    theirs.sort_by_key(|member| member.peer_urls.first().cloned());
    ours.sort_by_key(|(_, urls)| urls.iter().next().map(|url| url.as_str().to_owned()));
    let pairs = theirs.into_iter().zip(ours);
    let mut members = pairs
        .map(|(theirs, (name, urls))| {
            let same = same_urls(&theirs.peer_urls, urls).then_some(());
            same.ok_or("unmatched member while checking PeerURLs")?;
            Ok(Founder { id: MemberId::from(theirs.id), name: name.to_owned(), peer_urls: theirs.peer_urls.clone() })
        })
        .collect::<Result<Vec<_>, &'static str>>()?;
    members.sort_unstable_by_key(|member| member.id);
    Ok(members)
}

/// Equal as sets, after names have been resolved; equal texts need no resolving.
fn same_urls(theirs: &[String], ours: &Urls) -> bool {
    let mut texts = theirs.to_vec();
    texts.sort_unstable();
    if texts == ours.texts() {
        return true;
    }
    let theirs = theirs.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>, _>>();
    let theirs = theirs.and_then(|urls| resolved(&urls));
    theirs.is_ok_and(|theirs| resolved(ours).is_ok_and(|ours| theirs == ours))
}

/// The number of shards of the cluster, once one of the others has said that its version fits. The error is for the log.
fn shards(members: &[Founder], local: MemberId, fetch: Fetch<'_>, log: &mut Vec<LogLine>) -> Result<u16, String> {
    let incompatible = "incomptible with current running cluster";
    let mut shards = None;
    for member in members.iter().filter(|member| member.id != local) {
        let Some((url, version)) = version(member, fetch, log) else { continue };
        let Some(cluster) = major_minor(&version.etcdcluster) else {
            let text = format!(
                "cannot understand the cluster version of member {} ({} is not in dotted-tri format)",
                member.id, version.etcdcluster
            );
            log.push(LogLine::new(Severity::Error, "etcdserver", text));
            continue;
        };
        if !CLUSTER_VERSIONS.contains(&cluster) {
            let (how, limit, bound) = if cluster < *CLUSTER_VERSIONS.start() {
                ("lower", "minimal", CLUSTER_VERSIONS.start())
            } else {
                ("higher", "maximum", CLUSTER_VERSIONS.end())
            };
            let text = format!(
                "the running cluster version({}) is {how} than the {limit} cluster version({}.{}.0) supported",
                version.etcdcluster, bound.0, bound.1
            );
            log.push(LogLine::new(Severity::Warning, "etcdserver", text));
            return Err(incompatible.to_owned());
        }
        let (Some(_), Some(count)) = (version.uetcd, version.shards) else {
            return Err(format!(
                "the member {} at {url} runs etcd: its cluster can not have members of uetcd",
                member.id
            ));
        };
        shards = Some(count);
    }
    shards.ok_or_else(|| incompatible.to_owned())
}

/// The version of a member, from the first of its URLs that says it.
fn version<'m>(member: &'m Founder, fetch: Fetch<'_>, log: &mut Vec<LogLine>) -> Option<(&'m str, Version)> {
    let id = member.id;
    let mut warn = |text| log.push(LogLine::new(Severity::Warning, "etcdserver", text));
    for text in &member.peer_urls {
        let answer = Url::parse(text).and_then(|url| fetch(&url, "/version", VERSION));
        match answer.map(|answer| serde_json::from_slice::<Version>(&answer.body)) {
            Ok(Ok(version)) => return Some((text, version)),
            Ok(Err(error)) => warn(format!(
                "failed to unmarshal the response body got from the peerURL({text}) of member {id} ({error})"
            )),
            Err(reason) => warn(format!("failed to reach the peerURL({text}) of member {id} ({reason})")),
        }
    }
    warn(format!("cannot get the version of member {id}"));
    None
}

fn major_minor(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_)), None) => Some((major, minor)),
        _ => None,
    }
}

/// As Go prints etcd's value.
fn shown(running: &Running) -> String {
    let member = |member: &RunningMember| {
        format!(
            "&{{ID:{:x} RaftAttributes:{{PeerURLs:[{}]}} Attributes:{{Name:{} ClientURLs:[{}]}}}}",
            member.id,
            member.peer_urls.join(" "),
            member.name,
            member.client_urls.join(" ")
        )
    };
    let members: Vec<String> = running.members.iter().map(member).collect();
    format!("{{ClusterID:{} Members:[{}] RemovedMemberIDs:[]}}", running.id, members.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::bootstrap::found;
    use super::super::remote::Fetched;
    use super::*;
    use crate::config::command::tests::{config_of, lines};

    const MEMBERS: &str = r#"[{"id":15384551147252097183,"peerURLs":["http://127.0.0.1:21012"],"name":"b","clientURLs":["http://127.0.0.1:1"]},
        {"id":7004680878258416986,"peerURLs":["http://127.0.0.1:21011"],"name":"a","clientURLs":["http://127.0.0.1:2"]},
        {"id":4818893,"peerURLs":["http://127.0.0.1:21013"]}]"#;
    const VERSION: &str = r#"{"etcdserver":"2.3.8","etcdcluster":"2.3.0","uetcd":"0.1.0","shards":4}"#;
    const INITIAL: &str = "x=http://127.0.0.1:21011,y=http://127.0.0.1:21012,me=http://127.0.0.1:21013";

    fn config(more: &[&str]) -> Config {
        let flags = ["--name", "me", "--initial-cluster-state", "existing", "--initial-cluster"];
        // Somewhere else than what the flag says: it is not compared here.
        let own = ["--initial-advertise-peer-urls", "http://127.0.0.1:9"];
        let initial: &[&str] = if more.iter().any(|flag| flag.contains('=')) { &[] } else { &[INITIAL] };
        config_of(&[&flags[..], initial, more, &own].concat())
    }

    /// A cluster of which only the second member answers; what it says.
    fn cluster(members: &str, version: &str) -> impl Fn(&Url, &str, Duration) -> Result<Fetched, String> {
        move |url, path, _| match (url.as_str(), path) {
            ("http://127.0.0.1:21012", "/members") => {
                Ok(Fetched { cluster_id: Some("dfa5d91d7e2064c7".to_owned()), body: members.into() })
            }
            ("http://127.0.0.1:21012", "/version") => Ok(Fetched { cluster_id: None, body: version.into() }),
            _ => Err(format!("Get {url}{path}: connection refused")),
        }
    }

    #[test]
    fn who_joins_takes_its_id_from_the_cluster() {
        let founding = found(&config(&[]), &cluster(MEMBERS, VERSION)).expect("fits");
        assert_eq!((founding.cluster.to_string().as_str(), founding.local.get()), ("dfa5d91d7e2064c7", 4_818_893));
        assert_eq!((founding.shards, founding.joined), (4, true));
        let members: Vec<(u64, &str)> = founding.members.iter().map(|m| (m.id.get(), m.name.as_str())).collect();
        assert_eq!(members, [(4_818_893, "me"), (7_004_680_878_258_416_986, "x"), (15_384_551_147_252_097_183, "y")]);
        let want = "W etcdserver: could not get cluster response from http://127.0.0.1:21011: Get \
                    http://127.0.0.1:21011/members: connection refused\n\
                    W etcdserver: failed to reach the peerURL(http://127.0.0.1:21011) of member 6135a02579906d5a (Get \
                    http://127.0.0.1:21011/version: connection refused)\n\
                    W etcdserver: cannot get the version of member 6135a02579906d5a\n";
        assert_eq!(lines(&founding.log), want);
    }

    #[test]
    fn who_comes_back_without_its_data_is_told_so() {
        let started = MEMBERS.replace("21013\"]", "21013\"],\"clientURLs\":[\"http://127.0.0.1:3\"]");
        let founding = found(&config(&[]), &cluster(&started, VERSION)).expect("fits");
        let log = lines(&founding.log);
        assert!(log.contains("W etcdserver: member 4987cd has been in this cluster before"), "{log}");
    }

    /// Texts are those of etcd 2.3.8, but for the last two.
    #[test]
    fn what_can_not_be_joined_is_refused() {
        let two = "me=http://127.0.0.1:21013,y=http://127.0.0.1:21012";
        let other = "x=http://127.0.0.1:21011,y=http://127.0.0.1:21012,me=http://127.0.0.1:21014";
        let shown = "{ClusterID:dfa5d91d7e2064c7 Members:[&{ID:d580e7c1f0ca209f RaftAttributes:{PeerURLs:[http://127.0.0.1:21012]} \
                     Attributes:{Name:b ClientURLs:[http://127.0.0.1:1]}}";
        for (name, more, members, version, want) in [
            (
                "nobody answers",
                &["z=http://127.0.0.1:1,me=http://127.0.0.1:21013"][..],
                MEMBERS,
                VERSION,
                "C etcdmain: cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls\n",
            ),
            ("no list", &[], "404 page not found\n", VERSION, "W etcdserver: could not unmarshal cluster response: "),
            ("fewer members", &[two], MEMBERS, VERSION, &format!("C etcdmain: error validating peerURLs {shown}")),
            ("fewer members, why", &[two], MEMBERS, VERSION, "RemovedMemberIDs:[]}: member count is unequal\n"),
            (
                "another address",
                &[other],
                MEMBERS,
                VERSION,
                "RemovedMemberIDs:[]}: unmatched member while checking PeerURLs\n",
            ),
            (
                "own name",
                &["b=http://127.0.0.1:21013"],
                MEMBERS,
                VERSION,
                "C etcdmain: couldn't find local name \"me\"",
            ),
            (
                "twice the same",
                &["me=http://127.0.0.1:21013,y=http://127.0.0.1:21013"],
                MEMBERS,
                VERSION,
                "C etcdmain: initial cluster me=http://127.0.0.1:21013,y=http://127.0.0.1:21013 has duplicate url\n",
            ),
            (
                "too old",
                &[],
                MEMBERS,
                r#"{"etcdserver":"2.0.0","etcdcluster":"2.0.0"}"#,
                "W etcdserver: the running cluster version(2.0.0) is lower than the minimal cluster version(2.2.0) supported\n\
                 C etcdmain: incomptible with current running cluster\n",
            ),
            (
                "undecided",
                &[],
                MEMBERS,
                r#"{"etcdcluster":"not_decided"}"#,
                "C etcdmain: incomptible with current running",
            ),
            (
                "etcd itself",
                &[],
                MEMBERS,
                r#"{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}"#,
                "C etcdmain: the member d580e7c1f0ca209f at http://127.0.0.1:21012 runs etcd: its cluster can not have members of uetcd\n",
            ),
            (
                "other shards",
                &["--shards", "8"],
                MEMBERS,
                VERSION,
                "C etcdmain: --shards=8 was given, but the cluster has 4 shards",
            ),
        ] {
            let exit = found(&config(more), &cluster(members, version)).expect_err(name);
            assert_eq!(exit.status, 1, "{name}");
            assert!(lines(&exit.log).contains(want), "{name}: {}", lines(&exit.log));
        }
    }

    #[test]
    fn a_founder_that_was_there_before_is_refused() {
        let initial = "a=http://127.0.0.1:21011,b=http://127.0.0.1:21012,c=http://127.0.0.1:21013";
        let config = config_of(&[
            "--name",
            "b",
            "--initial-cluster",
            initial,
            "--initial-advertise-peer-urls",
            "http://127.0.0.1:21012",
            "--initial-cluster-token",
            "etcd-cluster-1",
        ]);
        let known = |clients: &str| {
            let members = format!(r#"[{{"id":15384551147252097183,"peerURLs":["http://127.0.0.1:21012"]{clients}}}]"#);
            move |_: &Url, _: &str, _: Duration| {
                Ok(Fetched { cluster_id: Some("dfa5d91d7e2064c7".to_owned()), body: members.clone().into() })
            }
        };
        let founding = found(&config, &known("")).expect("it never started");
        assert_eq!(
            (founding.local.to_string().as_str(), founding.cluster.to_string().as_str()),
            ("d580e7c1f0ca209f", "dfa5d91d7e2064c7")
        );
        assert_eq!(founding.members.len(), 3);
        assert_eq!(founding.local.get(), 15_384_551_147_252_097_183);
        let exit = found(&config, &known(r#","clientURLs":["http://127.0.0.1:1"]"#)).expect_err("it had started");
        assert_eq!(lines(&exit.log), "C etcdmain: member d580e7c1f0ca209f has already been bootstrapped\n");
    }
}
