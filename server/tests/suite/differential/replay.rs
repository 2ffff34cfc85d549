//! Which event a replayed watch must return: the rules of live delivery, applied to the past.

use super::Operation;
use crate::harness::Response;

/// An event that a write of this seed made.
struct Event {
    index: u64,
    key: Vec<u8>,
    /// A deletion of a directory, which concerns everything below.
    removed_directory: bool,
    refresh: bool,
}

/// The events of the current seed, oldest first.
#[derive(Default)]
pub(crate) struct Past {
    events: Vec<Event>,
}

impl Past {
    /// Notes the event of a write that succeeded.
    pub(crate) fn record(&mut self, operation: &Operation, answer: &Response) {
        let wrote = matches!(operation.method, "PUT" | "POST" | "DELETE") && answer.status < 300;
        if !wrote || !operation.target.starts_with("/v2/keys") {
            return;
        }
        let index = answer.index();
        let mut key = key_of(&operation.target);
        if operation.method == "POST" {
            if key == b"/" {
                key.clear();
            }
            key.extend_from_slice(format!("/{index:020}").as_bytes());
        }
        let text = answer.text();
        let removed_directory = operation.method == "DELETE" && text.contains("\"dir\":true");
        let form = operation.body.as_ref().map_or("", |(_, body)| body);
        let refresh = operation.target.contains("refresh=true") || form.contains("refresh=true");
        // With prevExist=false, and in POST, the refresh flag has no effect.
        let refresh = refresh && !text.contains("\"action\":\"create\"");
        self.events.push(Event { index, key, removed_directory, refresh });
    }

    /// The indices that are still in etcd's window of 1000 events, newest last.
    pub(crate) fn recent_indices(&self) -> Vec<u64> {
        let from = self.events.len().saturating_sub(900);
        self.events[from..].iter().map(|event| event.index).collect()
    }

    /// True when a watch of `path` from `since` finds an event at once, and etcd's replay finds the same one in spite of its known faults.
    pub(crate) fn is_clear(&self, path: &[u8], recursive: bool, since: u64) -> bool {
        let later = || self.events.iter().filter(|event| event.index >= since && !event.refresh);
        let right = later().find(|event| event.concerns(path, recursive));
        let real = later().find(|event| event.matched_by_etcd(path, recursive));
        match (right, real) {
            // Whether a path existed below a removed directory is not known here.
            (Some(a), Some(b)) => a.index == b.index && (!a.removed_directory || a.key == path),
            _ => false,
        }
    }
}

impl Event {
    fn concerns(&self, path: &[u8], recursive: bool) -> bool {
        let below = below(path, &self.key);
        self.key == path
            || recursive && below.is_some_and(|rest| !rest.split(|&b| b == b'/').any(|part| part.starts_with(b"_")))
            || self.removed_directory && self::below(&self.key, path).is_some()
    }

    /// etcd 3.4: hidden keys match, and removed directories match by string prefix.
    fn matched_by_etcd(&self, path: &[u8], recursive: bool) -> bool {
        self.key == path
            || recursive && below(path, &self.key).is_some()
            || self.removed_directory && path.starts_with(&self.key)
    }
}

/// What follows `directory` and a slash in `key`.
fn below<'a>(directory: &[u8], key: &'a [u8]) -> Option<&'a [u8]> {
    if directory == b"/" {
        return key.strip_prefix(b"/").filter(|rest| !rest.is_empty());
    }
    key.strip_prefix(directory)?.strip_prefix(b"/")
}

/// The key that a target names: decoded, without the query and a final slash.
pub(crate) fn key_of(target: &str) -> Vec<u8> {
    let path = target.split('?').next().unwrap_or_default();
    let mut bytes = path.strip_prefix("/v2/keys").unwrap_or(path).bytes();
    let mut key = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)];
            let hex = std::str::from_utf8(&digits).unwrap_or("");
            key.push(u8::from_str_radix(hex, 16).unwrap_or(b'?'));
        } else {
            key.push(byte);
        }
    }
    while key.len() > 1 && key.ends_with(b"/") {
        key.pop();
    }
    if key.is_empty() { b"/".to_vec() } else { key }
}

#[test]
fn a_target_names_the_decoded_key() {
    for (target, key) in [("/v2/keys", "/"), ("/v2/keys/", "/"), ("/v2/keys/a%2Fb/?x=/", "/a/b"), ("/v2/keys/+", "/+")]
    {
        assert_eq!(key_of(target), key.as_bytes(), "{target}");
    }
}
