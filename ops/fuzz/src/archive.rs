//! The payload of a raft entry: the archive of a batch of commands, or a change of the members.

use bytes::Bytes;
use shard::command::BatchBytes;
use shard::group::LogEntry;
use shard::history::HistoryLimits;
use shard::ids::{RaftIndex, Term};
use shard::shard::validate;
use shard::store::Store;

/// A batch that is accepted comes back from its own bytes, and can be carried out, whatever it asks for.
pub(crate) fn check(input: &[u8]) {
    let data = Bytes::copy_from_slice(input);
    for conf_change in [false, true] {
        let _ = validate(&LogEntry { index: RaftIndex(7), term: Term(1), conf_change, data: data.clone() });
    }
    let Ok(bytes) = BatchBytes::new(data) else { return };
    let batch = bytes.to_batch();
    assert_eq!(batch.encode().to_batch(), batch);
    assert_eq!(bytes.batch().len(), batch.commands.len());
    let mut store = Store::new(HistoryLimits::default());
    for entry in bytes.batch().iter() {
        let _ = store.apply(entry.index, bytes.batch().now(), &entry.command);
    }
    let _ = store.digest();
}
