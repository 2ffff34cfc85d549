//! What has to be done so that the copy becomes what the source is.

use std::collections::BTreeMap;

use super::Plan;
use crate::client::Node;

/// Times to live that differ by so many seconds are the same: each is rounded up, and the two listings are not of one moment.
const TTL_SLACK: i64 = 2;

/// One change to the copy. The keys are the copy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Remove what only the copy has, or what is in the way.
    Remove { key: String },
    /// A directory that is empty or has a time to live; others come with what is in them.
    Directory { key: String, ttl: i64 },
    /// A file.
    File { key: String, value: String, ttl: i64 },
}

/// The changes, by the order in which they may be made: each list is done before the next begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) removals: Vec<Change>,
    /// Parents before children.
    pub(super) directories: Vec<Change>,
    /// In any order.
    pub(super) files: Vec<Change>,
}

impl Work {
    pub(super) fn len(&self) -> usize {
        self.removals.len() + self.directories.len() + self.files.len()
    }
}

/// Compares the source's tree with the copy's.
pub(super) fn differences(plan: &Plan, source: &Node, copy: &Node, keep: bool) -> Work {
    let mut work = Work::default();
    // The two may have other names, and the root has no attributes.
    if source.dir && copy.dir {
        children(plan, source, copy, keep, &mut work);
    } else {
        compare(plan, source, Some(copy), keep, &mut work);
    }
    work
}

/// What of a tree may have come to it, or have stayed in it, without an event: what has a time to live, with all that is in it,
/// directories without anything that can be seen, and the directories that lead there.
pub(super) fn unheard(root: &Node) -> Node {
    let is_kept = |node: &Node| node.ttl != 0 || node.dir;
    let below = |node: &Node| if node.ttl == 0 { unheard(node) } else { node.clone() };
    let nodes = if root.dir { root.nodes.iter().map(below).filter(is_kept).collect() } else { Vec::new() };
    Node { nodes, ..bare(root) }
}

/// A node without what is in it.
fn bare(node: &Node) -> Node {
    let Node { key, dir, value, ttl, .. } = node;
    Node { key: key.clone(), dir: *dir, value: value.clone(), ttl: *ttl, ..Node::default() }
}

fn children(plan: &Plan, source: &Node, copy: &Node, keep: bool, work: &mut Work) {
    let mut known: BTreeMap<&str, &Node> = copy.nodes.iter().map(|node| (node.key.as_str(), node)).collect();
    for node in &source.nodes {
        let there = known.remove(plan.key(&node.key).as_str());
        compare(plan, node, there, keep, work);
    }
    if !keep {
        work.removals.extend(known.into_keys().map(|key| Change::Remove { key: key.to_owned() }));
    }
}

fn compare(plan: &Plan, source: &Node, copy: Option<&Node>, keep: bool, work: &mut Work) {
    let key = plan.key(&source.key);
    let copy = match copy {
        Some(copy) if copy.dir != source.dir => {
            work.removals.push(Change::Remove { key: key.clone() });
            None
        }
        other => other,
    };
    let same_ttl = copy.is_some_and(|copy| alike(source.ttl, copy.ttl));
    if !source.dir {
        if !same_ttl || copy.is_none_or(|copy| copy.value != source.value) {
            work.files.push(Change::File { key, value: source.value.clone(), ttl: source.ttl });
        }
        return;
    }
    let missing = copy.is_none() && (source.nodes.is_empty() || source.ttl != 0);
    if missing || (copy.is_some() && !same_ttl) {
        work.directories.push(Change::Directory { key, ttl: source.ttl });
    }
    let empty = Node::default();
    children(plan, source, copy.unwrap_or(&empty), keep, work);
}

fn alike(a: i64, b: i64) -> bool {
    (a == 0) == (b == 0) && (a - b).abs() <= TTL_SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, value: &str, ttl: i64) -> Node {
        Node { key: key.into(), value: value.into(), ttl, ..Node::default() }
    }

    fn dir(key: &str, ttl: i64, nodes: Vec<Node>) -> Node {
        Node { key: key.into(), dir: true, ttl, nodes, ..Node::default() }
    }

    fn plan() -> Plan {
        Plan { from: "/a".into(), to: "/b".into(), keep: false, once: true, workers: 1 }
    }

    #[test]
    fn equal_trees_need_nothing() {
        let source = dir("/a", 0, vec![file("/a/x", "1", 60), dir("/a/d", 0, vec![file("/a/d/y", "", 0)])]);
        let copy = dir("/b", 0, vec![dir("/b/d", 0, vec![file("/b/d/y", "", 0)]), file("/b/x", "1", 58)]);
        assert_eq!(differences(&plan(), &source, &copy, false), Work::default());
    }

    #[test]
    fn what_may_have_come_without_an_event_comes_with_all_in_it() {
        let source = dir(
            "",
            0,
            vec![
                file("/f", "1", 0),
                dir("/empty", 0, vec![]),
                dir("/d", 0, vec![file("/d/f", "1", 0), file("/d/leased", "2", 9), dir("/d/none", 0, vec![])]),
                dir("/leased", 9, vec![file("/leased/f", "3", 0), dir("/leased/d", 0, vec![])]),
            ],
        );
        let plan = Plan { from: String::new(), to: String::new(), ..plan() };
        let nothing = dir("", 0, vec![]);
        let work = differences(&plan, &unheard(&source), &nothing, true);
        let change = |key: &str, ttl| Change::Directory { key: key.into(), ttl };
        let want = [change("/empty", 0), change("/d/none", 0), change("/leased", 9), change("/leased/d", 0)];
        assert_eq!(work.directories, want);
        let set = |key: &str, value: &str, ttl| Change::File { key: key.into(), value: value.into(), ttl };
        assert_eq!(work.files, [set("/d/leased", "2", 9), set("/leased/f", "3", 0)]);
    }

    #[test]
    fn every_kind_of_difference_is_made_good() {
        let source = dir(
            "/a",
            0,
            vec![
                file("/a/changed", "new", 0),
                file("/a/file", "1", 0),
                dir("/a/empty", 0, vec![]),
                dir("/a/lease", 9, vec![file("/a/lease/k", "v", 0)]),
            ],
        );
        let copy = dir("/b", 0, vec![file("/b/changed", "old", 0), dir("/b/file", 0, vec![]), file("/b/gone", "", 0)]);
        let work = differences(&plan(), &source, &copy, false);
        let remove = |key: &str| Change::Remove { key: key.into() };
        let set = |key: &str, value: &str| Change::File { key: key.into(), value: value.into(), ttl: 0 };
        assert_eq!(work.removals, [remove("/b/file"), remove("/b/gone")]);
        assert_eq!(
            work.directories,
            [
                Change::Directory { key: "/b/empty".into(), ttl: 0 },
                Change::Directory { key: "/b/lease".into(), ttl: 9 }
            ]
        );
        assert_eq!(work.files, [set("/b/changed", "new"), set("/b/file", "1"), set("/b/lease/k", "v")]);
        let kept = differences(&plan(), &source, &copy, true);
        assert_eq!(kept.removals, [remove("/b/file")], "what is in the way goes all the same");
    }
}
