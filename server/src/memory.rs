//! What the main thread writes down while the executors serve: what this member knows again of its promises, and what it
//! knows of the other members' disks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::DataDir;

use crate::birth::{Birth, Founder};
use crate::core::Node;
use crate::failure::Fatal;
use crate::peer::{News, Remembered};

/// How often it is noted that the others' disks hold more than before. What is forgotten when this process ends without
/// warning is less than that; while it runs, it knows to a tenth of a second.
const PEERS_EVERY: Duration = Duration::from_secs(30);

/// What is kept up to date in the data directory.
pub(crate) struct Memory {
    data: Arc<DataDir>,
    birth: Birth,
    noted: Instant,
    /// The last attempt to note something failed.
    failing: bool,
}

impl Memory {
    /// Of a member as it starts.
    pub(crate) fn new(data: Arc<DataDir>, birth: Birth) -> Self {
        Self { data, birth, noted: Instant::now(), failing: false }
    }

    /// To be called often.
    pub(crate) fn keep(&mut self, node: &Node) -> Result<(), Fatal> {
        self.know_again(node)?;
        if self.noted.elapsed() >= PEERS_EVERY {
            self.note_peers(node, News::More);
        } else if !self.failing {
            self.note_peers(node, News::Anew);
        }
        Ok(())
    }

    /// The process ends.
    pub(crate) fn close(&mut self, node: &Node) {
        self.note_peers(node, News::More);
    }

    /// Another member remembers that this one's disk has held more: from the next start on it knows, and whom to ask.
    pub(crate) fn note_outdated(&mut self, node: &Node) -> Result<(), Fatal> {
        self.birth.outdated = true;
        for (id, peer_urls) in node.known_urls() {
            self.birth.founders.retain(|founder| founder.id != id.0);
            self.birth.founders.push(Founder { id: id.0, name: String::new(), peer_urls });
        }
        self.birth.write(&self.data)
    }

    /// Writes down that a member that lost its data has caught up, once it has: later starts need not ask the others again.
    fn know_again(&mut self, node: &Node) -> Result<(), Fatal> {
        if self.birth.promised_to.is_empty() || node.is_forgetful() {
            return Ok(());
        }
        self.birth.promised_to.clear();
        self.birth.write(&self.data)?;
        tracing::info!(target: "raft", "this member holds what the others have: it votes from now on");
        Ok(())
    }

    fn note_peers(&mut self, node: &Node, least: News) {
        let system = node.system();
        node.remembered.forget(|member| system.removed().contains(&member));
        let Some((news, text)) = node.remembered.take_news(least) else { return };
        self.noted = Instant::now();
        let outcome = self.data.write_peers(&text);
        if let Err(error) = &outcome
            && !self.failing
        {
            tracing::warn!(target: "wal", "what the others' disks hold can not be noted: {error}");
        }
        self.failing = outcome.is_err();
        if self.failing {
            node.remembered.keep_news(news);
        }
    }
}

/// What a member knows of the others' disks when it starts. Without it goes on, too: it is a second look, not the first.
pub(crate) fn remembered(data: &DataDir) -> Remembered {
    match data.read_peers() {
        Ok(None) => Remembered::default(),
        Ok(Some(text)) => Remembered::read(&text).unwrap_or_else(|| {
            tracing::warn!(target: "wal", "{}/peers is of another version, and does not count", data.member().display());
            Remembered::default()
        }),
        Err(error) => {
            tracing::warn!(target: "wal", "what the others' disks held is forgotten: {error}");
            Remembered::default()
        }
    }
}
