//! `--force-new-cluster`: one member of a cluster that has lost its majority goes on as the only one.
//!
//! It keeps its id, that of the cluster, and the longest prefix of the one order that it surely holds, committed or not as
//! far as it knows ([`crate::stock`]). The state is written anew with itself as the only member, of the cluster and of every
//! group, and all others as removed for good.
//!
//! Source: etcd 2.3 by what it is for. etcd drops what it does not know to be committed, and acknowledged writes with it.

use log::{BegunLogs, DataDir};
use shard::ids::MemberId;
use shard::system::Member;

use crate::birth::{Birth, Founder};
use crate::config::Config;
use crate::failure::Fatal;
use crate::staging::Stage;
use crate::stock::{Stock, apart};

/// Makes this member the only one; nothing happens if it is that already. `noted` are the logs that there must be. Blocks.
pub(crate) fn force(config: &Config, data: &DataDir, birth: Birth, noted: Option<BegunLogs>) -> Result<Birth, Fatal> {
    Ok(apart(|| rewrite(config, data, &birth, noted))?.unwrap_or(birth))
}

/// The new birth, once everything is on the disk; none if nothing is to be done.
fn rewrite(config: &Config, data: &DataDir, birth: &Birth, noted: Option<BegunLogs>) -> Result<Option<Birth>, Fatal> {
    let stock = Stock::take(config, birth, noted)?;
    let (member, cluster, upto) = (birth.member, birth.cluster, stock.upto());
    let me = MemberId(member);
    let knows_others = |held: &crate::stock::Held| held.store.system().members().keys().any(|member| *member != me);
    if stock.alone && !stock.shards.iter().any(knows_others) {
        return Ok(None);
    }
    crate::notice!("etcdserver", "forcing restart of member {member:x} in cluster {cluster:x} at index {upto}");
    let others: Vec<MemberId> = birth.founders.iter().map(|founder| MemberId(founder.id)).collect();
    let stage = Stage::begin(data)?;
    for (shard, mut held) in (0..).zip(stock.shards) {
        held.store.keep_only(me, (shard == 0).then(|| (unknown(config, birth), &others[..])));
        stage.put(shard, held.beyond, &held.store)?;
    }
    let founders = birth.founders.iter().filter(|founder| founder.id == member).cloned().collect();
    let birth = Birth { founders, joined: false, promised_to: Vec::new(), outdated: false, ..birth.clone() };
    stage.take_over(config, birth).map(Some)
}

/// What is said of this member if shard 0 has never heard of it.
fn unknown(config: &Config, birth: &Birth) -> Member {
    let own = birth.founders.iter().find(|founder| founder.id == birth.member).cloned();
    let (id, name) = (birth.member, config.name.clone());
    own.unwrap_or_else(|| Founder { id, name, peer_urls: config.advertise_peer.texts() }).unpublished()
}
