//! Clusters of several members on loopback: what clients of any member may rely on while members are killed, paused, restarted, added and removed.
//!
//! Knobs (environment): `SUITE_CLUSTER_ROUNDS` rounds of fail-over, `SUITE_CLUSTER_LAG` writes that a stopped member misses,
//! `SUITE_CLUSTER_HISTORY` seconds of a recorded history, `SUITE_SLOW` seconds that a disk is slow, `SUITE_FAULTS` failures of one,
//! `SUITE_SCRIPTS` random scripts of members that come and go, `SUITE_SOAK` seconds of the soak, `SUITE_PAUSES` pauses of the
//! primary, `SUITE_HELICAL` clusters of which every member is damaged, `SUITE_WATCHERS` and `SUITE_WATCHED` watchers and the writes that they see, `SUITE_CLUSTER_SEED` the seed of all of
//! these; `SUITE_LOG_LINES` lines of each log that a failure shows. Partitions are made with network namespaces, slow and failing disks
//! with mounts: they need root.

mod api;
mod backup;
mod descriptors;
mod disks;
mod failing_disk;
mod failover;
mod faults;
mod force_new_cluster;
mod full_disk;
mod helical;
mod history;
mod lagging;
mod linear;
mod load;
mod many_watchers;
mod members;
mod minority;
mod netns;
mod older_disk;
mod one_order;
mod packets;
mod partitions;
mod pause;
mod reads;
mod removal;
mod repair;
mod resizing;
mod rolling;
mod scripts;
mod slow_disk;
mod soak;
mod tail;
mod ttl;
mod watchers;

pub(crate) use members::{Cluster, Setup};
