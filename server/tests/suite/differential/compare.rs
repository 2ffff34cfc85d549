//! When two answers count as the same.

use serde_json::Value;

use super::Operation;
use crate::harness::Response;

/// Headers whose values no two runs share.
const VARYING: [&str; 4] = ["Date", "X-Etcd-Cluster-Id", "X-Raft-Index", "X-Raft-Term"];

/// What differs between the two answers, or nothing.
pub(crate) fn difference(operation: &Operation, tested: &Response, real: &Response) -> Option<&'static str> {
    if tested.status_line != real.status_line {
        return Some("the status line");
    }
    if !same_body(operation, &tested.text(), &real.text()) {
        return Some("the body");
    }
    // The fraction of an expiration has no fixed length, so neither have bodies that show one.
    let framing_varies = real.text().contains("\"expiration\"") || operation.method == "HEAD";
    let headers = |response: &Response| -> Vec<(String, String)> {
        let kept = response.headers.iter().filter(|(name, _)| !framing_varies || !is_framing(name));
        kept.map(|(name, value)| {
            let value = if VARYING.contains(&name.as_str()) { "" } else { value };
            (name.clone(), value.to_owned())
        })
        .collect()
    };
    (headers(tested) != headers(real)).then_some("the headers")
}

fn is_framing(name: &str) -> bool {
    name == "Content-Length" || name == "Transfer-Encoding"
}

/// Equal to the byte but for expirations, ttls by one second, and the order of children where none is promised.
fn same_body(operation: &Operation, tested: &str, real: &str) -> bool {
    let (tested, tested_ttls) = without_times(tested);
    let (real, real_ttls) = without_times(real);
    let same_ttls =
        || tested_ttls.len() == real_ttls.len() && tested_ttls.iter().zip(&real_ttls).all(|(a, b)| a.abs_diff(*b) <= 1);
    if !operation.unsorted {
        return tested == real && same_ttls();
    }
    match (serde_json::from_str(&tested), serde_json::from_str(&real)) {
        (Ok(a), Ok(b)) => tested.len() == real.len() && sorted(a) == sorted(b),
        _ => tested == real,
    }
}

/// The text with every expiration and ttl replaced, and the ttls in order. Neither pattern can occur inside a JSON string, where quotes are escaped.
fn without_times(text: &str) -> (String, Vec<i64>) {
    let mut out = String::new();
    let mut ttls = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\"expiration\":\"") {
        let (before, from) = rest.split_at(at + "\"expiration\":\"".len());
        out.push_str(before);
        rest = &from[from.find('"').unwrap_or(0)..];
    }
    out.push_str(rest);
    let mut kept = String::new();
    let mut rest = out.as_str();
    while let Some(at) = rest.find("\"ttl\":") {
        let (before, from) = rest.split_at(at + "\"ttl\":".len());
        let end = from.find([',', '}']).unwrap_or(from.len());
        ttls.push(from[..end].parse().unwrap_or(i64::MIN));
        kept.push_str(before);
        kept.push('0');
        rest = &from[end..];
    }
    kept.push_str(rest);
    (kept, ttls)
}

/// Children in the order of their keys, at every level.
fn sorted(mut value: Value) -> Value {
    sort(&mut value);
    value
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_key(ToString::to_string);
        }
        Value::Object(members) => members.values_mut().for_each(sort),
        _ => {}
    }
}

#[test]
fn times_are_cut_out_and_nothing_else() {
    let (text, ttls) = without_times(r#"{"a":"\"ttl\":5","expiration":"2026-11","ttl":7,"nodes":[{"ttl":-1}]}"#);
    assert_eq!(text, r#"{"a":"\"ttl\":5","expiration":"","ttl":0,"nodes":[{"ttl":0}]}"#);
    assert_eq!(ttls, [7, -1]);
}
