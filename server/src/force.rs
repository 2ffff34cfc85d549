//! `--force-new-cluster`: one member of a cluster that has lost its majority goes on as the only one.
//!
//! It keeps its id, that of the cluster, and the longest prefix of the one order that it surely holds, committed or not as
//! far as it knows ([`shard::remains`]). The state is written anew with itself as the only member, of the cluster and of
//! every group, and all others as removed for good.
//!
//! Source: etcd 2.3 by what it is for. etcd drops what it does not know to be committed, and acknowledged writes with it.

use log::{BegunLogs, DataDir, Position};
use shard::group::Members;
use shard::ids::{Index, MemberId};
use shard::remains::{Remains, prefix};
use shard::system::Member;

use crate::birth::{Birth, Founder};
use crate::config::Config;
use crate::failure::Fatal;
use crate::recovery::{self, ShardSeed};
use crate::staging::Stage;

/// Makes this member the only one; nothing happens if it is that already. `noted` are the logs that there must be. Blocks.
pub(crate) fn force(config: &Config, data: &DataDir, birth: Birth, noted: Option<BegunLogs>) -> Result<Birth, Fatal> {
    // On a thread of its own: what the states leave behind in memory goes with it.
    let forced = std::thread::scope(|scope| scope.spawn(|| rewrite(config, data, &birth, noted)).join());
    let Ok(forced) = forced else { return Err(Fatal::Other("the state could not be rewritten".to_owned())) };
    Ok(forced?.unwrap_or(birth))
}

/// The new birth, once everything is on the disk; none if nothing is to be done.
fn rewrite(config: &Config, data: &DataDir, birth: &Birth, noted: Option<BegunLogs>) -> Result<Option<Birth>, Fatal> {
    let me = MemberId(birth.member);
    let mut ends = Vec::new();
    let mut remains = Vec::new();
    let mut seeds: Vec<ShardSeed> = recovery::read_back(config, birth, noted)?.shards.into_iter().flatten().collect();
    seeds.sort_by_key(|seed| seed.shard);
    for mut seed in seeds {
        check_is_whole(birth, &seed)?;
        ends.push(beyond(&seed));
        let shown = Index(seed.log.frontier.map_or(0, |frontier| frontier.visible));
        let (store, entries) = seed.take_state(recovery::history_limits(config))?;
        remains.push(Remains::new(store, birth.first_members(), entries, shown));
    }
    let alone = remains.iter().all(|shard| shard.members() == Members::of_voters([me]));
    let upto = prefix(&remains, me);
    warn_of_snapshots_ahead(&remains, upto);
    let (stores, dropped): (Vec<_>, Vec<_>) = remains.into_iter().map(|shard| shard.replay(upto)).unzip();
    if alone && stores[0].system().members().keys().all(|member| *member == me) {
        return Ok(None);
    }
    let upto = stores.iter().map(shard::store::Store::applied).max().unwrap_or_default();
    report(birth, upto, dropped.iter().sum());
    let others: Vec<MemberId> = birth.founders.iter().map(|founder| MemberId(founder.id)).collect();
    let stage = Stage::begin(data)?;
    for ((shard, position), mut store) in (0..).zip(ends).zip(stores) {
        store.keep_only(me, (shard == 0).then(|| (unknown(config, birth), &others[..])));
        stage.put(shard, position, &store)?;
    }
    let founders = birth.founders.iter().filter(|founder| founder.id == birth.member).cloned().collect();
    let birth = Birth { founders, joined: false, promised_to: Vec::new(), ..birth.clone() };
    stage.take_over(config, birth).map(Some)
}

/// Who joined and has not been sent the state of a shard has nothing to go on with.
fn check_is_whole(birth: &Birth, seed: &ShardSeed) -> Result<(), Fatal> {
    if !birth.joined || seed.snapshot.is_some() {
        return Ok(());
    }
    Err(Fatal::Other(format!(
        "--force-new-cluster: this member had joined and has not received the state of shard {} yet. Nothing was changed; use \
         another member, or a backup",
        seed.shard
    )))
}

/// A position of the shard's log that no entry has had, of a term that nobody has been in.
fn beyond(seed: &ShardSeed) -> Position {
    let log = &seed.log;
    let terms = log.entries.last().map(|entry| entry.term).into_iter();
    let terms = terms.chain(log.hard_state.map(|state| state.term)).chain(log.base.map(|base| base.term));
    Position { index: log.last_index().next(), term: terms.max().unwrap_or(0) + 1 }
}

/// What is said of this member if shard 0 has never heard of it.
fn unknown(config: &Config, birth: &Birth) -> Member {
    let own = birth.founders.iter().find(|founder| founder.id == birth.member).cloned();
    let Founder { name, peer_urls, .. } = own.unwrap_or_else(|| Founder {
        id: birth.member,
        name: config.name.clone(),
        peer_urls: config.advertise_peer.texts(),
    });
    Member { name, peer_urls, client_urls: Vec::new() }
}

fn report(birth: &Birth, upto: Index, dropped: usize) {
    let (member, cluster) = (birth.member, birth.cluster);
    if dropped > 0 {
        tracing::warn!(
            target: "etcdserver",
            "discarding {dropped} changes beyond index {upto}: one before them has not reached this member"
        );
    }
    crate::notice!("etcdserver", "forcing restart of member {member:x} in cluster {cluster:x} at index {upto}");
}

fn warn_of_snapshots_ahead(remains: &[Remains], upto: Index) {
    let shown = remains.iter().map(Remains::shown).max().unwrap_or_default();
    if upto == Index(u64::MAX) {
        return;
    }
    for (shard, ahead) in (0..).zip(remains).filter(|(_, shard): &(u16, _)| shard.snapshot_upto() > shown) {
        tracing::warn!(
            target: "etcdserver",
            "shard {shard} was brought to index {} by a snapshot, this member had shown {shown}: changes of other shards in \
             between may be missing",
            ahead.snapshot_upto()
        );
    }
}
