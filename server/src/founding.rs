//! What executor 0 does for the whole node before the first client: it notes which logs have begun, and writes what etcd
//! writes by itself.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::{BegunLogs, DataDir, DirError};
use shard::command::{Command, SystemCommand};
use shard::ids::{MemberId, ShardId};

use crate::birth::Founder;
use crate::core::{Core, Phase};
use crate::failure::Fatal;

/// What it needs for that.
pub(crate) struct Founding {
    pub(crate) data: Arc<DataDir>,
    pub(crate) begun: BegunLogs,
}

impl Founding {
    /// Returns when clients may be served. To be run when the node has applied what was in its log: else members that are
    /// there would be added again, and the refusals would use up indices.
    pub(crate) async fn run(self, core: &Rc<Core>, founders: Vec<Founder>) -> Result<(), Fatal> {
        self.note_logs().await?;
        found(core, founders).await;
        Ok(())
    }

    /// Each group has an entry of this start in its log by now, so no log of an executor with shards is empty; and no
    /// client has been promised anything.
    async fn note_logs(self) -> Result<(), Fatal> {
        let Self { data, begun } = self;
        match glommio::executor().spawn_blocking(move || data.write_begun(begun)).await {
            // The older note stays, and holds.
            Err(DirError::Io { source, .. }) if is_out_of_space(&source) => {
                tracing::warn!(target: "wal", "no space to note which logs have begun: {source}");
                Ok(())
            }
            noted => noted.map_err(|error| Fatal::Other(error.to_string())),
        }
    }
}

fn is_out_of_space(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Has the node write down what etcd writes by itself before the first client. What a full disk refuses is tried again
/// beside the clients, who may read meanwhile.
async fn found(core: &Rc<Core>, founders: Vec<Founder>) {
    const PAUSE: Duration = Duration::from_secs(1);
    if publish(core, &founders).await {
        return;
    }
    tracing::warn!(target: "etcdserver", "the log takes no writes: this member is published when it does");
    let core = Rc::clone(core);
    glommio::spawn_local(async move {
        while core.node.phase() < Phase::Stopping {
            glommio::timer::sleep(PAUSE).await;
            if publish(&core, &founders).await {
                return;
            }
        }
    })
    .detach();
}

/// The founding members, who this one is, the common version. False: some of it was refused.
async fn publish(core: &Rc<Core>, founders: &[Founder]) -> bool {
    let system = core.node.system();
    let known = |founder: &Founder| {
        let id = MemberId(founder.id);
        system.members().contains_key(&id) || system.removed().contains(&id)
    };
    for Founder { id, name, peer_urls } in founders.iter().filter(|founder| !known(founder)) {
        let (name, peer_urls) = (name.clone(), peer_urls.clone());
        if !propose(core, SystemCommand::AddMember { id: *id, name, peer_urls }).await {
            return false;
        }
    }
    let config = &core.node.config;
    let client_urls: Vec<String> = config.advertise_client.iter().map(|url| url.as_str().to_owned()).collect();
    let (id, name) = (core.node.member, config.name.clone());
    let attributes = SystemCommand::PublishAttributes { id, name: name.clone(), client_urls: client_urls.clone() };
    if !propose(core, attributes).await {
        return false;
    }
    let cluster = &core.node.cluster_id;
    tracing::info!(target: "etcdserver", "published {{Name:{name} ClientURLs:{client_urls:?}}} to cluster {cluster}");
    let has_version = core.node.system().cluster_version().is_some();
    has_version || propose(core, SystemCommand::SetClusterVersion(CLUSTER_VERSION.to_owned())).await
}

/// False: the command did not get into the log.
async fn propose(core: &Rc<Core>, command: SystemCommand) -> bool {
    const SYSTEM: ShardId = ShardId(0);
    let status = core.propose_and_wait(SYSTEM, Command::System(command)).await;
    status.is_some_and(|status| status < 500)
}

/// The lowest version of etcd's that all members of a uetcd cluster speak.
const CLUSTER_VERSION: &str = "2.3.0";
