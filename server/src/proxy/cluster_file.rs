//! `DATA/proxy/cluster`: the peer URLs of the cluster, so that a restart finds it whatever the flags say.
//!
//! The format is etcd's: `{"PeerURLs":["http://127.0.0.1:2380"]}`, without a newline.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Exit, go_reason};

/// Where it is.
pub(super) struct ClusterFile {
    dir: PathBuf,
    /// What is in it, as far as it is known.
    content: Option<Vec<u8>>,
}

#[derive(Deserialize, Serialize)]
struct Content {
    #[serde(rename = "PeerURLs")]
    peer_urls: Vec<String>,
}

impl ClusterFile {
    /// The file in the directory of a proxy.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, content: None }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// The peer URLs in it; `None` if it is not there.
    pub(super) fn read(&mut self) -> Result<Option<Vec<String>>, Exit> {
        let path = self.path();
        let unusable = |reason: String| Exit::critical("etcdmain", format!("proxy: {}: {reason}", path.display()));
        let content = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| unusable(go_reason(&error)))?,
        };
        let parsed: Content = serde_json::from_slice(&content).map_err(|error| {
            unusable(format!(
                "this is no list of peer URLs ({error}): remove the file, and start with -initial-cluster"
            ))
        })?;
        self.content = Some(content);
        Ok(Some(parsed.peer_urls))
    }

    /// Replaces what is in it, if that is something else. A crash leaves the old or the new file.
    pub(super) fn write(&mut self, peer_urls: &[String]) -> io::Result<()> {
        let content = serde_json::to_vec(&Content { peer_urls: peer_urls.to_vec() })?;
        if self.content.as_ref() == Some(&content) {
            return Ok(());
        }
        let new = self.dir.join("cluster.bak");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        sync_dir(&self.dir)?;
        self.content = Some(content);
        Ok(())
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_written_as_etcd_writes_it_and_read_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut file = ClusterFile::new(dir.path().to_owned());
        assert_eq!(file.read().expect("usable"), None);
        let urls = ["http://a:1".to_owned(), "http://b:1".to_owned()];
        file.write(&urls).expect("written");
        file.write(&urls).expect("nothing to do");
        let content = fs::read_to_string(file.path()).expect("is there");
        assert_eq!(content, "{\"PeerURLs\":[\"http://a:1\",\"http://b:1\"]}");
        assert_eq!(fs::metadata(file.path()).expect("is there").permissions().mode() & 0o777, 0o600);
        let mut again = ClusterFile::new(dir.path().to_owned());
        assert_eq!(again.read().expect("usable"), Some(urls.to_vec()));
        again.write(&urls[..1]).expect("written");
        assert_eq!(file.read().expect("usable"), Some(urls[..1].to_vec()));
    }

    #[test]
    fn what_is_no_list_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut file = ClusterFile::new(dir.path().to_owned());
        fs::write(file.path(), "{\"PeerURLs\":").expect("written");
        let exit = file.read().expect_err("half of a list");
        assert!(exit.log[0].text.contains("this is no list of peer URLs"), "{exit:?}");
    }
}
