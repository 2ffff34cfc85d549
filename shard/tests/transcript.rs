//! What etcd 2.3.8 answered, line by line: the store's part of a session recorded on a fresh one-member cluster.
//! Index 4 is the first client write there. Lines that only concern HTTP are left out, and so are the indices of refusals.

mod common;

use common::*;
use shard::command::Command;
use shard::store::{Outcome, Store};

/// Runs the rows in order. A refused write takes no index in etcd, so the next command gets it.
fn run(first: u64, rows: &[(Command, &str)]) {
    let mut store = store_before(first);
    let mut next = first;
    for (command, want) in rows {
        let refused = store.check(&command.into()).err();
        next += u64::from(refused.is_none());
        let got = refused.map_or_else(|| one(&mut store, command), |refusal| refusal_json(&refusal));
        assert_eq!(&got, want, "{command:?}");
        assert_eq!(store.applied().0, next - 1);
    }
}

fn one(store: &mut Store, command: &Command) -> String {
    match apply(store, NOW, command) {
        Ok(Outcome::Event { event, .. }) => json(&event),
        Ok(other) => format!("{other:?}"),
        Err(refusal) => refusal_json(&refusal),
    }
}

#[test]
fn files() {
    run(
        4,
        &[
            (set("/a", "1"), r#"{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":4,"createdIndex":4}}"#),
            // A plain PUT replaces the node: `createdIndex` changes too.
            (
                set("/a", "1"),
                r#"{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/a","value":"1","modifiedIndex":4,"createdIndex":4}}"#,
            ),
            (
                set("/a", "2"),
                r#"{"action":"set","node":{"key":"/a","value":"2","modifiedIndex":6,"createdIndex":6},"prevNode":{"key":"/a","value":"1","modifiedIndex":5,"createdIndex":5}}"#,
            ),
            // prevExist=true alone: `createdIndex` is preserved.
            (
                update("/a", "3", None),
                r#"{"action":"update","node":{"key":"/a","value":"3","modifiedIndex":7,"createdIndex":6},"prevNode":{"key":"/a","value":"2","modifiedIndex":6,"createdIndex":6}}"#,
            ),
            // Compare failures: [given != actual]; value pair first, both only when both fail.
            (swap("/a", "4", "nope", 0), r#"{"errorCode":101,"message":"Compare failed","cause":"[nope != 3]"}"#),
            (
                swap("/a", "4", "nope", 1),
                r#"{"errorCode":101,"message":"Compare failed","cause":"[nope != 3] [1 != 7]"}"#,
            ),
            (swap("/a", "4", "3", 1), r#"{"errorCode":101,"message":"Compare failed","cause":"[1 != 7]"}"#),
            (
                swap("/a", "4", "", 7),
                r#"{"action":"compareAndSwap","node":{"key":"/a","value":"4","modifiedIndex":8,"createdIndex":6},"prevNode":{"key":"/a","value":"3","modifiedIndex":7,"createdIndex":6}}"#,
            ),
            (create("/a", "6"), r#"{"errorCode":105,"message":"Key already exists","cause":"/a"}"#),
            (
                update("/a", "", None),
                r#"{"action":"update","node":{"key":"/a","value":"","modifiedIndex":9,"createdIndex":6},"prevNode":{"key":"/a","value":"4","modifiedIndex":8,"createdIndex":6}}"#,
            ),
            (compare_delete("/a", "x", 0), r#"{"errorCode":101,"message":"Compare failed","cause":"[x != ]"}"#),
            (
                delete("/a"),
                r#"{"action":"delete","node":{"key":"/a","modifiedIndex":10,"createdIndex":6},"prevNode":{"key":"/a","value":"","modifiedIndex":9,"createdIndex":6}}"#,
            ),
            (delete("/a"), r#"{"errorCode":100,"message":"Key not found","cause":"/a"}"#),
            (update("/a", "", None), r#"{"errorCode":100,"message":"Key not found","cause":"/a"}"#),
            (refresh("/a", 5), r#"{"errorCode":100,"message":"Key not found","cause":"/a"}"#),
        ],
    );
}

#[test]
fn directories() {
    run(
        13,
        &[
            // Parents are created implicitly with the child's index; only one event is emitted.
            (
                set("/d/e/f", "1"),
                r#"{"action":"set","node":{"key":"/d/e/f","value":"1","modifiedIndex":13,"createdIndex":13}}"#,
            ),
            (delete("/nope/x/y"), r#"{"errorCode":100,"message":"Key not found","cause":"/nope"}"#),
            (set("/d/e/f/g", "1"), r#"{"errorCode":104,"message":"Not a directory","cause":"/d/e/f"}"#),
            (create("/d/e/f/g/h", "1"), r#"{"errorCode":104,"message":"Not a directory","cause":"/d/e/f"}"#),
            (set("/d", "1"), r#"{"errorCode":102,"message":"Not a file","cause":"/d"}"#),
            (mkdir("/d", None), r#"{"errorCode":102,"message":"Not a file","cause":"/d"}"#),
            (update("/d", "x", None), r#"{"errorCode":102,"message":"Not a file","cause":"/d"}"#),
            (refresh("/d", 5), r#"{"errorCode":102,"message":"Not a file","cause":"/d"}"#),
            // The event of a directory update has a new modifiedIndex, the stored node keeps the old one.
            (
                update("/d", "", Some(1000)),
                r#"{"action":"update","node":{"key":"/d","dir":true,"expiration":"T","ttl":1000,"modifiedIndex":14,"createdIndex":13},"prevNode":{"key":"/d","dir":true,"modifiedIndex":13,"createdIndex":13}}"#,
            ),
            (
                update("/d", "", None),
                r#"{"action":"update","node":{"key":"/d","dir":true,"modifiedIndex":15,"createdIndex":13},"prevNode":{"key":"/d","dir":true,"expiration":"T","ttl":1000,"modifiedIndex":13,"createdIndex":13}}"#,
            ),
            (delete("/d"), r#"{"errorCode":102,"message":"Not a file","cause":"/d"}"#),
            (rmdir("/d"), r#"{"errorCode":108,"message":"Directory not empty","cause":"/d"}"#),
            (compare_delete("/d", "", 13), r#"{"errorCode":102,"message":"Not a file","cause":"/d"}"#),
            (
                delete_all("/d"),
                r#"{"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":16,"createdIndex":13},"prevNode":{"key":"/d","dir":true,"modifiedIndex":13,"createdIndex":13}}"#,
            ),
            (
                set("/f", "file"),
                r#"{"action":"set","node":{"key":"/f","value":"file","modifiedIndex":17,"createdIndex":17}}"#,
            ),
            // dir=true over a file replaces it.
            (
                mkdir("/f", None),
                r#"{"action":"set","node":{"key":"/f","dir":true,"modifiedIndex":18,"createdIndex":18},"prevNode":{"key":"/f","value":"file","modifiedIndex":17,"createdIndex":17}}"#,
            ),
            (
                rmdir("/f"),
                r#"{"action":"delete","node":{"key":"/f","dir":true,"modifiedIndex":19,"createdIndex":18},"prevNode":{"key":"/f","dir":true,"modifiedIndex":18,"createdIndex":18}}"#,
            ),
            (
                set("/f", "1"),
                r#"{"action":"set","node":{"key":"/f","value":"1","modifiedIndex":20,"createdIndex":20}}"#,
            ),
            // recursive=true on a file is fine; the event node then has no `dir`.
            (
                delete_all("/f"),
                r#"{"action":"delete","node":{"key":"/f","modifiedIndex":21,"createdIndex":20},"prevNode":{"key":"/f","value":"1","modifiedIndex":20,"createdIndex":20}}"#,
            ),
            (
                set("/h/_x", "1"),
                r#"{"action":"set","node":{"key":"/h/_x","value":"1","modifiedIndex":22,"createdIndex":22}}"#,
            ),
            (rmdir("/h"), r#"{"errorCode":108,"message":"Directory not empty","cause":"/h"}"#),
        ],
    );
}

#[test]
fn the_root() {
    let root_is_read_only = r#"{"errorCode":107,"message":"Root is read only","cause":"/"}"#;
    run(
        4,
        &[
            (set("/", "1"), root_is_read_only),
            (mkdir("/", None), root_is_read_only),
            (create("/", "1"), root_is_read_only),
            (update("/", "1", None), root_is_read_only),
            (update("/", "", Some(5)), root_is_read_only),
            (swap("/", "1", "", 1), root_is_read_only),
            (delete_all("/"), root_is_read_only),
            // No cause here, as in etcd.
            (compare_delete("/", "", 1), r#"{"errorCode":102,"message":"Not a file"}"#),
            (
                post("/", "x", false),
                r#"{"action":"create","node":{"key":"/00000000000000000004","value":"x","modifiedIndex":4,"createdIndex":4}}"#,
            ),
        ],
    );
}

#[test]
fn in_order_keys() {
    run(
        23,
        &[
            (
                post("/q", "j1", false),
                r#"{"action":"create","node":{"key":"/q/00000000000000000023","value":"j1","modifiedIndex":23,"createdIndex":23}}"#,
            ),
            (
                post("/q", "", true),
                r#"{"action":"create","node":{"key":"/q/00000000000000000024","dir":true,"modifiedIndex":24,"createdIndex":24}}"#,
            ),
            (
                set("/f", "1"),
                r#"{"action":"set","node":{"key":"/f","value":"1","modifiedIndex":25,"createdIndex":25}}"#,
            ),
            (post("/f", "1", false), r#"{"errorCode":104,"message":"Not a directory","cause":"/f"}"#),
            (post("/f/g", "1", false), r#"{"errorCode":104,"message":"Not a directory","cause":"/f"}"#),
            (
                set("/q/00000000000000000027", "taken"),
                r#"{"action":"set","node":{"key":"/q/00000000000000000027","value":"taken","modifiedIndex":26,"createdIndex":26}}"#,
            ),
            // Found out only when the name is known.
            (
                post("/q", "1", false),
                r#"{"errorCode":105,"message":"Key already exists","cause":"/q/00000000000000000027"}"#,
            ),
        ],
    );
}

#[test]
fn times_to_live() {
    run(
        30,
        &[
            (
                set("/ttl", "1"),
                r#"{"action":"set","node":{"key":"/ttl","value":"1","modifiedIndex":30,"createdIndex":30}}"#,
            ),
            (
                set_ttl("/ttl", "1", 1000),
                r#"{"action":"set","node":{"key":"/ttl","value":"1","expiration":"T","ttl":1000,"modifiedIndex":31,"createdIndex":31},"prevNode":{"key":"/ttl","value":"1","modifiedIndex":30,"createdIndex":30}}"#,
            ),
            // refresh without prevExist is a `set`: keeps the value but resets createdIndex.
            (
                refresh("/ttl", 500),
                r#"{"action":"set","node":{"key":"/ttl","value":"1","expiration":"T","ttl":500,"modifiedIndex":32,"createdIndex":32},"prevNode":{"key":"/ttl","value":"1","expiration":"T","ttl":1000,"modifiedIndex":31,"createdIndex":31}}"#,
            ),
            (
                update_refresh("/ttl", 400),
                r#"{"action":"update","node":{"key":"/ttl","value":"1","expiration":"T","ttl":400,"modifiedIndex":33,"createdIndex":32},"prevNode":{"key":"/ttl","value":"1","expiration":"T","ttl":500,"modifiedIndex":32,"createdIndex":32}}"#,
            ),
            (
                set("/ttl", "2"),
                r#"{"action":"set","node":{"key":"/ttl","value":"2","modifiedIndex":34,"createdIndex":34},"prevNode":{"key":"/ttl","value":"1","expiration":"T","ttl":400,"modifiedIndex":33,"createdIndex":32}}"#,
            ),
            // ttl=0: the member `ttl` is left out, `expiration` is there.
            (
                set_ttl("/z", "1", 0),
                r#"{"action":"set","node":{"key":"/z","value":"1","expiration":"T","modifiedIndex":35,"createdIndex":35}}"#,
            ),
        ],
    );
}
