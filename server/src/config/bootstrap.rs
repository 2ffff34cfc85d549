//! The founding of a cluster: what `--initial-cluster` says, and the checks before a member without data may found one or
//! join one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::ToSocketAddrs;
use std::time::Duration;

use super::join::{self, join};
use super::remote::Fetch;
use super::urls::{Endpoint, Url, Urls};
use super::{Bootstrap, Config, Exit, SHARDS};
use crate::identity::{ClusterId, MemberId};
use crate::logging::{LogLine, Severity};

/// The members named by `--initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitialCluster(BTreeMap<String, Urls>);

impl InitialCluster {
    /// Reads `name=url[,name=url...]`. The same name several times gives several URLs of one member; empty pieces are
    /// skipped; URLs are trimmed, names are not.
    ///
    /// Source: etcd 2.3, its texts included; a piece without `=` is a name with an empty URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut urls: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for piece in text.split(',').filter(|piece| !piece.is_empty()) {
            let (name, url) = piece.split_once('=').unwrap_or((piece, ""));
            urls.entry(name).or_default().push(url);
        }
        let member = |(name, urls): (&str, Vec<&str>)| {
            let urls = urls.iter().map(|url| Url::parse(url.trim())).collect::<Result<Vec<_>, _>>()?;
            Ok((name.to_owned(), Urls::sorted(urls)))
        };
        urls.into_iter().map(member).collect::<Result<_, _>>().map(Self)
    }

    /// One member alone.
    pub(crate) fn of_one(name: &str, urls: Urls) -> Self {
        Self(BTreeMap::from([(name.to_owned(), urls)]))
    }

    /// The members by name, each with its peer URLs.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Urls)> {
        self.0.iter().map(|(name, urls)| (name.as_str(), urls))
    }

    /// Whether two members, or one member twice, have the same one.
    pub(super) fn duplicate_url(&self) -> bool {
        let mut texts: Vec<&str> = self.0.values().flatten().map(Url::as_str).collect();
        let count = texts.len();
        texts.sort_unstable();
        texts.dedup();
        texts.len() < count
    }
}

/// As in the flag: sorted by name, one piece for each URL.
impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = self.members().flat_map(|(name, urls)| urls.iter().map(move |url| (name, url)));
        for (at, (name, url)) in pieces.enumerate() {
            write!(f, "{}{name}={url}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// How long each of the others may take to say whether this member was there before.
const BOOTSTRAPPED: Duration = Duration::from_secs(1);

/// A cluster about to be born, or one that this member is about to join.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Founding {
    /// Its id, for as long as it lives.
    pub(crate) cluster: ClusterId,
    /// The id of this member.
    pub(crate) local: MemberId,
    /// All members, this one included, by id.
    pub(crate) members: Vec<Founder>,
    /// Its number of shards.
    pub(crate) shards: u16,
    /// It runs already: its log comes from the others.
    pub(crate) joined: bool,
    /// It was there before and has lost its data: the started members, to any of whom it may have promised something.
    pub(crate) promised_to: Vec<u64>,
    /// What is to be logged about it.
    pub(crate) log: Vec<LogLine>,
}

/// One member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Founder {
    /// Its id.
    pub(crate) id: MemberId,
    /// Its name.
    pub(crate) name: String,
    /// Its peer URLs, sorted.
    pub(crate) peer_urls: Vec<String>,
}

/// The cluster to found or to join when the data directory is empty. Call it only then: once there is data, ids and
/// membership come from the disk and all of this is without effect. The members have been gathered
/// ([`super::gather()`]); `fetch` asks the other ones.
///
/// Source: etcd 2.3, in its order and words; equal texts need no resolving (3.4).
pub(crate) fn found(config: &Config, fetch: Fetch<'_>) -> Result<Founding, Exit> {
    let fatal = |text: String| Err(Exit::critical("etcdmain", text));
    let Bootstrap::Static(initial) = &config.bootstrap else { panic!("the members have not been gathered") };
    let Some((_, own)) = initial.members().find(|(name, _)| *name == config.name) else {
        return Err(unknown_name(config));
    };
    if !config.join_existing {
        check_own_urls(config, own)?;
    }
    if let Some(url) = initial.members().flat_map(|(_, urls)| urls).find(|url| url.scheme().is_tls()) {
        return Err(Exit::unsupported(&format!("TLS ({url})")));
    }
    if initial.duplicate_url() {
        return fatal(format!("initial cluster {initial} has duplicate url"));
    }
    if config.join_existing {
        return join(config, initial, fetch);
    }
    let founding = founding(config, initial)?;
    if was_there_before(config, initial, founding.local, fetch) {
        return fatal(format!("member {} has already been bootstrapped", founding.local));
    }
    Ok(founding)
}

/// One of the others knows this member as one that has started, so its data has been lost since.
fn was_there_before(config: &Config, initial: &InitialCluster, local: MemberId, fetch: Fetch<'_>) -> bool {
    let others = join::urls_of_others(initial, &config.name);
    // Nobody need be there yet: what goes wrong is no news.
    join::running(&others, BOOTSTRAPPED, fetch, &mut Vec::new()).is_some_and(|running| {
        let mut started = running.members.iter().filter(|member| !member.client_urls.is_empty());
        started.any(|member| member.id == local.get())
    })
}

fn founding(config: &Config, initial: &InitialCluster) -> Result<Founding, Exit> {
    let founder = |(name, urls): (&str, &Urls)| {
        let peer_urls = urls.texts();
        Founder { id: MemberId::at_bootstrap(&peer_urls, &config.cluster_token), name: name.to_owned(), peer_urls }
    };
    let mut members: Vec<Founder> = initial.members().map(founder).collect();
    members.sort_unstable_by_key(|member| member.id);
    let ids: Vec<MemberId> = members.iter().map(|member| member.id).collect();
    if let Some((twice, _)) = ids.iter().zip(ids.iter().skip(1)).find(|(one, next)| one == next) {
        let text = format!("member exists with identical ID {twice}");
        return Err(Exit::critical("etcdmain", text));
    }
    let own = members.iter().find(|member| member.name == config.name).map(|member| member.id);
    let local = own.ok_or_else(|| unknown_name(config))?;
    let shards = config.shards.unwrap_or(SHARDS);
    Ok(Founding {
        cluster: ClusterId::of(&ids),
        local,
        members,
        shards,
        joined: false,
        promised_to: Vec::new(),
        log: Vec::new(),
    })
}

fn unknown_name(config: &Config) -> Exit {
    let name = &config.name;
    Exit::critical("etcdmain", format!("couldn't find local name \"{name}\" in the initial cluster configuration"))
}

fn check_own_urls(config: &Config, own: &Urls) -> Result<(), Exit> {
    let advertised = &config.advertise_peer;
    if own == advertised {
        return Ok(());
    }
    let addresses = resolved(own).and_then(|own| resolved(advertised).map(|advertised| (own, advertised)));
    match addresses {
        Ok((own, advertised)) if own == advertised => Ok(()),
        Ok(_) => Err(must_include(config)),
        Err(text) => Err(Exit::critical("etcdmain", text)),
    }
}

/// What to compare of URLs, in order.
pub(super) fn resolved<'u>(urls: impl IntoIterator<Item = &'u Url>) -> Result<Vec<String>, String> {
    let mut addresses = urls.into_iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
    addresses.sort_unstable();
    Ok(addresses)
}

/// What to compare of a URL: `localhost` and addresses literally, other names by what they resolve to.
fn resolve(url: &Url) -> Result<String, String> {
    match url.endpoint() {
        Endpoint::Tcp(host, port) if host != "localhost" => (host.as_str(), *port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .map(|address| address.to_string())
            .ok_or_else(|| format!("could not resolve {url}: lookup {host}: no such host")),
        _ => Ok(url.host_port().to_owned()),
    }
}

fn must_include(config: &Config) -> Exit {
    let (name, urls) = (&config.name, &config.advertise_peer);
    let pieces: Vec<String> = urls.iter().map(|url| format!("{name}={url}")).collect();
    let mut texts =
        vec![format!("--initial-cluster must include {} given --initial-advertise-peer-urls={urls}", pieces.join(","))];
    if urls.to_string() == "http://localhost:2380" {
        texts.push("forgot to set --initial-advertise-peer-urls flag?".to_owned());
    }
    let log = texts.into_iter().map(|text| LogLine::new(Severity::Info, "etcdmain", text)).collect();
    Exit { status: 1, log, ..Exit::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::command::tests::{config_of, lines};
    use crate::config::remote::Fetched;

    fn nobody(url: &Url, path: &str, _: Duration) -> Result<Fetched, String> {
        Err(format!("Get {url}{path}: nobody is there"))
    }

    #[test]
    fn a_cluster_is_read_by_the_rules_of_etcd() {
        for (text, want) in [
            ("a=http://h:1,b=http://h:2", Ok("a=http://h:1,b=http://h:2")),
            ("b=http://h:2,a=http://h:3,a=http://h:1", Ok("a=http://h:1,a=http://h:3,b=http://h:2")),
            (",a=http://h:1,,", Ok("a=http://h:1")),
            ("a= http://h:1 , b=http://h:2", Ok(" b=http://h:2,a=http://h:1")),
            ("=http://h:1", Ok("=http://h:1")),
            ("", Ok("")),
            ("a", Err("URL scheme must be http, https, unix, or unixs: ")),
            ("a=http://h:1=2", Err("parse \"http://h:1=2\": invalid port \":1=2\" after host")),
        ] {
            let got = InitialCluster::parse(text).map(|cluster| cluster.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn one_member_founds_a_cluster_with_the_ids_of_etcd() {
        let founding = found(&config_of(&[]), &nobody).expect("alone");
        assert_eq!(
            (founding.local.to_string().as_str(), founding.cluster.to_string().as_str()),
            ("8e9e05c52164694d", "cdf818194e3a8c32")
        );
        let two = ["--initial-advertise-peer-urls", "http://localhost:7001,http://localhost:2380"];
        let founding = found(&config_of(&two), &nobody).expect("alone");
        assert_eq!(
            founding.members,
            [Founder {
                id: founding.local,
                name: "default".to_owned(),
                peer_urls: vec!["http://localhost:2380".to_owned(), "http://localhost:7001".to_owned()],
            }]
        );
        assert_eq!(founding.cluster.to_string(), "7e27652122e8b2ae");
    }

    /// In the order of the checks; texts are those of etcd 2.3.8.
    #[test]
    fn what_cannot_be_founded_is_refused() {
        for (flags, want) in [
            (
                &["--name", "a", "--initial-cluster", "b=http://localhost:2380"][..],
                "C etcdmain: couldn't find local name \"a\" in the initial cluster configuration\n",
            ),
            (&["--initial-cluster="], "C etcdmain: couldn't find local name \"default\" in the initial cluster"),
            (
                &["--initial-cluster", "default=http://localhost:1"],
                "I etcdmain: --initial-cluster must include default=http://localhost:2380 given \
                 --initial-advertise-peer-urls=http://localhost:2380\n\
                 I etcdmain: forgot to set --initial-advertise-peer-urls flag?\n",
            ),
            (
                &["--initial-cluster", "default=http://127.0.0.1:2380"],
                "I etcdmain: --initial-cluster must include default=http://localhost:2380 given",
            ),
            (
                &["--initial-cluster", "default=http://localhost:2380,b=http://localhost:2380"],
                "C etcdmain: initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate url\n",
            ),
            (
                &["--initial-cluster", "default=http://localhost:2380,b=https://h:1"],
                "C etcdmain: TLS (https://h:1) is not supported by uetcd",
            ),
        ] {
            let exit = found(&config_of(flags), &nobody).expect_err("refused");
            assert_eq!(exit.status, 1, "{flags:?}");
            assert!(lines(&exit.log).starts_with(want), "{flags:?}: {}", lines(&exit.log));
        }
    }

    #[test]
    fn equal_names_need_no_resolving_and_others_say_what_did_not_resolve() {
        let urls = ["--initial-advertise-peer-urls", "http://nowhere.invalid:1"];
        let same = [&urls[..], &["--initial-cluster", "default=http://nowhere.invalid:1"]].concat();
        assert!(found(&config_of(&same), &nobody).is_ok());
        let other = [&urls[..], &["--initial-cluster", "default=http://10.0.0.1:1"]].concat();
        let exit = found(&config_of(&other), &nobody).expect_err("does not resolve");
        let want = "C etcdmain: could not resolve http://nowhere.invalid:1: lookup nowhere.invalid: no such host\n";
        assert_eq!(lines(&exit.log), want);
    }
}
