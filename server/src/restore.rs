//! A backup as a file: written from the data directory of a member that does not run, and the begin of a new cluster.
//!
//! Keys, indices and history go on where the backup ends. Members do not: the new cluster has a new id and one member, with
//! a new id, so that nobody of the old cluster can take it for its own.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{BegunLogs, DataDir, Position};
use shard::group::LOG_START;
use shard::ids::MemberId;

use crate::backup::{self, About, Encoder};
use crate::birth::{Birth, Founder, check};
use crate::config::{Config, go_reason};
use crate::failure::Fatal;
use crate::identity::{self, ClusterId};
use crate::recovery::history_limits;
use crate::staging::Stage;
use crate::stock::{Stock, apart};

/// The logs of a new cluster begin above this position.
const BEGIN: Position = Position { index: log::RaftIndex::new(LOG_START.0.0 + 1), term: LOG_START.1.0 };

/// Makes the backup in `file` the state of a new member, the only one of a new cluster. Blocks. The data directory must be
/// empty. What fails leaves it so: nothing counts before everything is there.
pub(crate) fn restore(config: &Config, data: &DataDir, has_data: bool, file: &Path) -> Result<Birth, Fatal> {
    if has_data || data.read_identity()?.is_some() {
        return Err(Fatal::Other(format!(
            "-restore-backup: there is data in {} already, and a backup is restored into an empty data directory only. Leave the \
             flag out to start with that data, or choose another -data-dir",
            config.data_dir.display()
        )));
    }
    apart(|| {
        let own = newborn(config);
        let (me, member) = (MemberId(own.id), own.clone().unpublished());
        let stage = Stage::begin(data)?;
        let about = backup::read(file, history_limits(config), &mut |shard, mut store| {
            store.keep_only(me, (shard == 0).then(|| (member.clone(), &[][..])));
            stage.put(shard, BEGIN, &store).map_err(|fatal| fatal.to_string())
        });
        let about = about.map_err(|reason| {
            let file = file.display();
            Fatal::Other(format!("-restore-backup: {file} can not be restored: {reason}. There is no data yet, and another backup can be tried"))
        })?;
        let birth = Birth {
            member: own.id,
            cluster: ClusterId::of(&[identity::MemberId::from(own.id)]).get(),
            shards: about.shards,
            founders: vec![own],
            joined: false,
            promised_to: Vec::new(),
            outdated: false,
            staged: false,
        };
        check(config, &birth)?;
        crate::notice!("etcdserver", "restoring the backup of cluster {} at index {}", about.cluster, about.index);
        stage.take_over(config, birth)
    })
}

/// Writes what is in the data directory of a member that does not run into a new file. Blocks.
pub(crate) fn write(config: &Config, data: &DataDir, birth: &Birth, file: &Path) -> Result<(), Fatal> {
    let noted = data.read_begun()?;
    apart(|| {
        let about = write_stock(config, birth, noted, file)?;
        let (member, cluster, index, file) = (&about.member, &about.cluster, about.index, file.display());
        crate::notice!(
            "etcdserver",
            "backup of member {member} in cluster {cluster} at index {index} written to {file}"
        );
        Ok(())
    })
}

fn write_stock(config: &Config, birth: &Birth, noted: Option<BegunLogs>, file: &Path) -> Result<About, Fatal> {
    let unwritable = |error: io::Error| {
        Fatal::Other(format!("-write-backup: {} can not be written: {}", file.display(), go_reason(&error)))
    };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(unwritable)?;
    let stock = Stock::take(config, birth, noted).inspect_err(|_| discard(file))?;
    let about = About::new(format!("{:x}", birth.cluster), birth.member, birth.shards, stock.upto());
    let written = write_all(&about, stock, &mut out).and_then(|()| out.sync_all());
    written.inspect_err(|_| discard(file)).map_err(unwritable)?;
    Ok(about)
}

fn write_all(about: &About, stock: Stock, out: &mut impl io::Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(about, &mut bytes);
    for held in stock.shards {
        for chunk in held.store.snapshot().at_clock(held.clock) {
            encoder.chunk(&chunk, &mut bytes);
            out.write_all(&bytes)?;
            bytes.clear();
        }
        encoder.end_shard(&mut bytes);
    }
    encoder.finish(&mut bytes);
    out.write_all(&bytes)
}

/// What is not whole is no backup, and in the way of the next attempt; if it stays, its missing end tells.
fn discard(file: &Path) {
    let _ = std::fs::remove_file(file);
}

/// This member, with an id that none has had. Source: etcd 2.3 takes a backup's ids from the clock.
fn newborn(config: &Config) -> Founder {
    let peer_urls = config.advertise_peer.texts();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let id = identity::MemberId::at_bootstrap(&peer_urls, &now).get();
    Founder { id, name: config.name.clone(), peer_urls }
}
