use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::super::registry::{Answer, Request, Wire};
use super::super::token::Token;
use super::*;
use crate::config::blocking::NoAnswer;
use crate::config::command::tests::lines;

/// What a registry answers, and to what, in order.
struct Script(RefCell<VecDeque<(&'static str, Result<Answer, NoAnswer>)>>);

impl Wire for Script {
    fn send(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let method = if request.form.is_some() { "PUT" } else { "GET" };
        let form = request.form.as_deref().map_or_else(String::new, |form| format!(" {form}"));
        let sent = format!("{method} {}{form}", request.target);
        let (want, answer) = self.0.borrow_mut().pop_front().unwrap_or_else(|| panic!("not expected: {sent}"));
        assert_eq!(sent, want);
        answer
    }
}

type Step = (&'static str, Result<Answer, NoAnswer>);

const SIZE: &str = "GET /v2/keys/t/_config/size?quorum=false&recursive=false&sorted=false";
const LIST: &str = "GET /v2/keys/t?quorum=false&recursive=false&sorted=false";
const PUT: &str = "PUT /v2/keys/t/a1?prevExist=false value=a%3Dhttp%3A%2F%2Fh%3A1";
const OWN: &str = "GET /v2/keys/t/a1?recursive=false&wait=true&waitIndex=7";

fn answer(status: u16, index: u64, body: &str) -> Answer {
    Answer { status, index, body: body.into() }
}

fn node(id: &str, value: &str, index: u64) -> String {
    format!(r#"{{"key":"/t/{id}","value":"{value}","modifiedIndex":{index},"createdIndex":{index}}}"#)
}

fn size(text: &str) -> Step {
    (SIZE, Ok(answer(200, 9, &format!(r#"{{"action":"get","node":{{"key":"/t/_config/size","value":"{text}"}}}}"#))))
}

/// The registry at `index`.
fn list(index: u64, nodes: &[(&str, &str, u64)]) -> Step {
    let nodes: Vec<String> = nodes.iter().map(|(id, value, index)| node(id, value, *index)).collect();
    let nodes = nodes.join(",");
    (LIST, Ok(answer(200, index, &format!(r#"{{"action":"get","node":{{"key":"/t","dir":true,"nodes":[{nodes}]}}}}"#))))
}

fn event(asked: &'static str, action: &str, id: &str, value: &str, index: u64) -> Step {
    let node = node(id, value, index);
    (asked, Ok(answer(200, index, &format!(r#"{{"action":"{action}","node":{node}}}"#))))
}

fn registered() -> [Step; 2] {
    let created = Ok(answer(201, 7, &format!(r#"{{"action":"create","node":{}}}"#, node("a1", "a=http://h:1", 7))));
    [(PUT, created), event(OWN, "create", "a1", "a=http://h:1", 7)]
}

/// What became of a member.
struct Told {
    result: Result<Vec<String>, Fault>,
    log: String,
    pauses: Vec<u64>,
    noted: bool,
}

fn visit(
    steps: Vec<Step>,
    act: impl FnOnce(&mut Visit<'_>, &dyn Fn() -> Result<(), Exit>) -> Result<Vec<String>, Fault>,
) -> Told {
    let script = Script(RefCell::new(steps.into()));
    let token = Token::parse("http://h:9/v2/keys/t").expect("valid");
    let (log, pauses) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let noted = Cell::new(false);
    let pause = |pause: Duration| pauses.borrow_mut().push(pause.as_secs());
    let say = |line: &LogLine| log.borrow_mut().push(line.clone());
    let mut visit =
        Visit { registry: Registry { token: &token, wire: &script }, pause: &pause, say: &say, failures: 0 };
    let result = act(&mut visit, &|| {
        noted.set(true);
        Ok(())
    });
    assert!(script.0.borrow().is_empty(), "not asked: {:?}", script.0.borrow());
    let (log, pauses) = (lines(&log.borrow()), pauses.take());
    Told { result, log, pauses, noted: noted.get() }
}

fn join(steps: impl IntoIterator<Item = Step>, came_before: bool) -> Told {
    visit(steps.into_iter().collect(), |visit, note| {
        visit.join(&Candidate { id: "a1", value: "a=http://h:1", came_before, note })
    })
}

fn all(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Request by request as etcd 2.3.8 was seen to do it.
#[test]
fn a_member_registers_and_waits_for_the_others() {
    let first = [size("3"), list(6, &[("b2", "b=http://h:2", 6)])];
    let then = [size("3"), list(7, &[("a1", "a=http://h:1", 7), ("b2", "b=http://h:2", 6)])];
    let news = "GET /v2/keys/t?recursive=true&wait=true&waitIndex=8";
    let told = join(
        first.into_iter().chain(registered()).chain(then).chain([event(news, "create", "c3", "c=http://h:3", 12)]),
        false,
    );
    assert_eq!(told.result, Ok(all(&["b=http://h:2", "a=http://h:1", "c=http://h:3"])));
    assert!(told.noted && told.pauses.is_empty());
    let want = "N discovery: found peer b2 in the cluster\nN discovery: found self a1 in the cluster\n\
                N discovery: found 2 peer(s), waiting for 1 more\nN discovery: found peer c3 in the cluster\n\
                N discovery: found 3 needed peer(s)\n";
    assert_eq!(told.log, want);
}

#[test]
fn who_comes_too_late_does_not_register() {
    let told = join([size("1"), list(6, &[("b2", "", 6)])], false);
    assert_eq!((told.result, told.noted), (Err(Fault::Full), false));
    // Two for one place: the index decides.
    let then = [size("2"), list(8, &[("a1", "", 7), ("b2", "", 5), ("c3", "", 6)])];
    let told = join([size("2"), list(5, &[("b2", "", 5)])].into_iter().chain(registered()).chain(then), false);
    assert_eq!(told.result, Err(Fault::Full));
}

#[test]
fn what_is_wrong_with_a_registry_is_said() {
    let missing = r#"{"errorCode":100,"message":"Key not found","cause":"/_etcd","index":3}"#;
    let page = "404 page not found\n";
    for (name, step, want) in [
        ("no size", (SIZE, Ok(answer(404, 3, missing))), "100: Key not found (/_etcd) [3]"),
        ("no number", size("abc"), "discovery: size key is bad"),
        ("nothing", size(""), "discovery: size key is bad"),
        ("a space", size(" 1"), "discovery: size key is bad"),
        ("nobody", size("0"), "discovery: size key is bad"),
        ("fewer", size("-1"), "discovery: size key is bad"),
        ("no etcd", (SIZE, Ok(answer(404, 0, page))), "discovery: bad discovery endpoint"),
        ("other JSON", (SIZE, Ok(answer(200, 0, "{}"))), "discovery: bad discovery endpoint"),
        ("silence", (SIZE, Err(NoAnswer::TimedOut)), "context deadline exceeded"),
    ] {
        let told = join([step], false);
        assert_eq!(told.result.expect_err(name).to_string(), want, "{name}");
        assert!(!told.noted, "{name}");
    }
}

#[test]
fn whoever_was_there_before_needs_proof_that_nothing_was_founded() {
    let own = |value| [size("2"), list(8, &[("a1", value, 7)])];
    assert_eq!(join(own("a=http://h:1"), false).result, Err(Fault::DuplicateId));
    assert_eq!(join(own("x=http://h:1"), true).result, Err(Fault::DuplicateId));
    let news = "GET /v2/keys/t?recursive=true&wait=true&waitIndex=9";
    let again = own("a=http://h:1").into_iter().chain(own("a=http://h:1"));
    let told = join(again.chain([event(news, "create", "b2", "b=http://h:2", 9)]), true);
    assert_eq!(told.result, Ok(all(&["a=http://h:1", "b=http://h:2"])));
    // Somebody with the same id in the same moment.
    let exists = r#"{"errorCode":105,"message":"Key already exists","cause":"/t/a1","index":7}"#;
    let told = join([size("2"), list(6, &[]), (PUT, Ok(answer(412, 7, exists)))], false);
    assert_eq!(told.result, Err(Fault::DuplicateId));
}

#[test]
fn a_registration_is_not_tried_twice() {
    for (name, failure, want) in [
        ("silence", Err(NoAnswer::TimedOut), "context deadline exceeded"),
        (
            "no leader",
            Ok(answer(500, 0, "")),
            "client: etcd cluster is unavailable or misconfigured; error #0: client: etcd member http://h:9 has no leader",
        ),
    ] {
        let told = join([size("2"), list(6, &[]), (PUT, failure)], false);
        assert_eq!(told.result.expect_err(name).to_string(), want, "{name}");
    }
}

#[test]
fn whoever_meets_nobody_tries_again_ever_more_slowly() {
    let refused = || (SIZE, Err(NoAnswer::Failed("dial tcp h:9: connect: connection refused".to_owned())));
    let down = std::iter::repeat_with(refused).take(9);
    let told = join(down.chain([(SIZE, Ok(answer(503, 0, ""))), size("0")]), false);
    assert_eq!(told.result, Err(Fault::BadSize));
    assert_eq!(told.pauses, [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
    let want = "E discovery: error #0: dial tcp h:9: connect: connection refused\n\
                I discovery: cluster status check: error connecting to http://h:9, retrying in 2s\n";
    assert!(told.log.starts_with(want), "{}", told.log);
    assert!(told.log.contains("retrying in 4m16s\n"), "{}", told.log);
}

#[test]
fn only_somebody_new_counts_as_a_peer() {
    const NEWS: &str = "GET /v2/keys/t?recursive=true&wait=true&waitIndex=8";
    let own = ("a1", "a=http://h:1", 7);
    let stale = ("b2", "b=http://h:2", 6);
    let start =
        || [size("3"), list(6, &[stale])].into_iter().chain(registered()).chain([size("3"), list(7, &[own, stale])]);
    let full = || [size("3"), list(20, &[own, ("c3", "c", 19), ("d4", "d", 20)])];
    for (name, step) in [
        ("a stale one is deleted", event(NEWS, "delete", "b2", "", 8)),
        ("one is written again", event(NEWS, "set", "b2", "x", 8)),
        ("something deeper", event(NEWS, "create", "c3/x", "y", 8)),
        ("something hidden", event(NEWS, "create", "_x", "y", 8)),
        ("history is gone", (NEWS, Ok(answer(400, 99, r#"{"errorCode":401,"message":"","cause":"","index":99}"#)))),
    ] {
        let told = join(start().chain([step]).chain(full()), false);
        assert_eq!(told.result, Ok(all(&["a=http://h:1", "c", "d"])), "{name}");
        assert!(told.pauses.is_empty(), "{name}");
    }
    let down = (NEWS, Err(NoAnswer::Failed("EOF".to_owned())));
    let told = join(start().chain([(NEWS, Err(NoAnswer::TimedOut)), down]).chain(full()), false);
    assert_eq!((told.result, told.pauses), (Ok(all(&["a=http://h:1", "c", "d"])), vec![2]));
    assert!(
        told.log.contains("waiting for other nodes: error connecting to http://h:9, retrying in 2s\n"),
        "{}",
        told.log
    );
    let told = join(start().chain([(NEWS, Ok(answer(200, 8, "")))]).chain(full()), false);
    assert_eq!((told.result, told.pauses), (Ok(all(&["a=http://h:1", "c", "d"])), vec![2]), "a watch that was ended");
    let told = join(start().chain([event(NEWS, "delete", "a1", "", 8), size("3"), list(8, &[stale])]), false);
    assert_eq!(told.result, Err(Fault::Removed));
}

#[test]
fn whoever_only_looks_registers_nothing() {
    let nodes = [("c3", "c", 9), ("b2", "b", 6), ("a1", "a", 7)];
    assert_eq!(visit(vec![size("2"), list(9, &nodes)], |visit, _| visit.watch()).result, Ok(all(&["b", "a"])));
}
