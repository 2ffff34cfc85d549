//! The key space's parameters: which operation a request becomes, and which check fails first.

use std::borrow::Cow;

use net::http::request::{Body, Decoder, Limits, Progress, Request};
use net::keys_request::{self, Decoded, FieldError, KeysRequest};

const FORM: &str = "application/x-www-form-urlencoded";

/// Builds the request as it would arrive, and decodes it.
fn with<T>(
    method: &str,
    query: &str,
    content_type: Option<&str>,
    body: &str,
    look: impl FnOnce(Result<Decoded<'_>, FieldError>) -> T,
) -> T {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let content_type = content_type.map_or(String::new(), |value| format!("Content-Type: {value}\r\n"));
    let raw = format!(
        "{method} /v2/keys/a{query} HTTP/1.1\r\nHost: h\r\n{content_type}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut decoder = Decoder::new(Limits::default());
    match decoder.decode(raw.as_bytes()) {
        Ok(Progress::Complete { request, .. }) => look(keys_request::decode(&request)),
        other => panic!("{raw:?}: {other:?}"),
    }
}

fn error(method: &str, query: &str, content_type: Option<&str>, body: &str) -> Option<(u16, String)> {
    with(method, query, content_type, body, |decoded| decoded.err().map(|error| (error.code, error.cause.into_owned())))
}

fn bytes(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

#[test]
fn reads_and_watches() {
    use KeysRequest::{Get, Watch};
    let plain = Get { recursive: false, sorted: false, quorum: false };
    for (method, query, want) in [
        ("GET", "", plain.clone()),
        ("GET", "unknown=1&Recursive=bad", plain.clone()),
        ("GET", "quorum=false&recursive=false&sorted=false&wait=false&waitIndex=0", plain.clone()),
        ("GET", "value=x&ttl=5&dir=true&prevExist=true&prevValue=a&prevIndex=1", plain.clone()),
        ("GET", "recursive=true&sorted=1", Get { recursive: true, sorted: true, quorum: false }),
        ("GET", "quorum=t", Get { recursive: false, sorted: false, quorum: true }),
        ("GET", "quorum=true&wait=true", Get { recursive: false, sorted: false, quorum: true }),
        ("GET", "wait=true&waitIndex=7", Watch { recursive: false, stream: false, wait_index: 7 }),
        ("GET", "wait=true&recursive=true&stream=true", Watch { recursive: true, stream: true, wait_index: 0 }),
        ("GET", "wait=T&quorum=F", Watch { recursive: false, stream: false, wait_index: 0 }),
        ("GET", "stream=true&waitIndex=9", plain.clone()),
        ("HEAD", "quorum=true", plain.clone()),
        ("HEAD", "recursive=true&sorted=true", Get { recursive: true, sorted: true, quorum: false }),
    ] {
        with(method, query, None, "", |decoded| {
            assert_eq!(decoded.map(|decoded| decoded.request), Ok(want), "{method} {query}");
        });
    }
}

#[test]
fn writes() {
    use KeysRequest::{CompareAndDelete, CompareAndSwap, Create, Delete, Set, Update};
    let v = bytes("v");
    let set = |ttl| Set { value: v.clone(), dir: false, ttl, refresh: false };
    let create = |in_order| Create { value: v.clone(), dir: false, ttl: None, in_order };
    let swap = |prev_value: Option<&'static str>, prev_index| CompareAndSwap {
        value: v.clone(),
        ttl: None,
        refresh: false,
        prev_value: prev_value.map(bytes),
        prev_index,
    };
    let cad = |prev_value: Option<&'static str>, prev_index| CompareAndDelete {
        prev_value: prev_value.map(bytes),
        prev_index,
    };
    for (method, query, body, want) in [
        ("PUT", "", "value=v", set(None)),
        ("PUT", "value=v", "", set(None)),
        ("PUT", "value=q", "value=v&value=w", set(None)),
        ("PUT", "", "value=v&ttl=", set(None)),
        ("PUT", "", "value=v&ttl=0", set(Some(0))),
        ("PUT", "ttl=18446744073709551615", "value=v", set(Some(u64::MAX))),
        ("PUT", "prevIndex=0", "value=v", set(None)),
        ("PUT", "wait=false&recursive=true&sorted=1&stream=1&waitIndex=5&quorum=1", "value=v", set(None)),
        ("PUT", "dir=true", "ttl=50", Set { value: bytes(""), dir: true, ttl: Some(50), refresh: false }),
        ("PUT", "", "refresh=true&ttl=5", Set { value: bytes(""), dir: false, ttl: Some(5), refresh: true }),
        ("PUT", "", "refresh=true&ttl=5&value=", Set { value: bytes(""), dir: false, ttl: Some(5), refresh: true }),
        ("PUT", "prevExist=false", "value=v", create(false)),
        ("PUT", "prevExist=false&prevValue=x&prevIndex=3", "value=v", create(false)),
        ("PUT", "prevExist=true", "value=v", Update { value: v.clone(), ttl: None, refresh: false }),
        ("PUT", "prevExist=true&prevIndex=0", "value=v", Update { value: v.clone(), ttl: None, refresh: false }),
        ("PUT", "prevExist=true&refresh=1", "ttl=5", Update { value: bytes(""), ttl: Some(5), refresh: true }),
        ("PUT", "prevExist=true&prevIndex=3", "value=v", swap(None, 3)),
        ("PUT", "prevExist=true&prevValue=x", "value=v", swap(Some("x"), 0)),
        ("PUT", "prevIndex=3", "value=v", swap(None, 3)),
        ("PUT", "prevValue=x&prevIndex=3", "value=v", swap(Some("x"), 3)),
        ("POST", "", "value=v", create(true)),
        ("POST", "prevExist=true&prevValue=x&prevIndex=99", "value=v", create(true)),
        ("POST", "", "refresh=true&ttl=5", Create { value: bytes(""), dir: false, ttl: Some(5), in_order: true }),
        ("POST", "dir=true", "", Create { value: bytes(""), dir: true, ttl: None, in_order: true }),
        ("DELETE", "", "prevValue=zzz", Delete { dir: false, recursive: false }),
        ("DELETE", "prevExist=false", "", Delete { dir: false, recursive: false }),
        ("DELETE", "dir=true", "", Delete { dir: true, recursive: false }),
        ("DELETE", "recursive=true", "", Delete { dir: false, recursive: true }),
        ("DELETE", "prevIndex=0&dir=1", "", Delete { dir: true, recursive: false }),
        ("DELETE", "prevValue=x&dir=true", "", cad(Some("x"), 0)),
        ("DELETE", "prevIndex=3&recursive=true", "", cad(None, 3)),
        ("DELETE", "prevIndex=3&prevValue=x", "", cad(Some("x"), 3)),
    ] {
        with(method, query, Some(FORM), body, |decoded| {
            assert_eq!(decoded.map(|decoded| decoded.request), Ok(want), "{method} {query} {body}");
        });
    }
}

#[test]
fn values_are_form_decoded() {
    for (body, want) in [
        ("value=+a%2b", " a+"),
        ("value=a=b=c", "a=b=c"),
        ("value", ""),
        ("=x", ""),
        ("&&=&a&value=v&&", "v"),
        ("%76alue=v", "v"),
        ("value=a\nb", "a\nb"),
        ("value=%00%e2%98%83", "\0\u{2603}"),
        ("", ""),
    ] {
        with("PUT", "", Some(FORM), body, |decoded| match decoded.map(|decoded| decoded.request) {
            Ok(KeysRequest::Set { value, .. }) => assert_eq!(value, want.as_bytes(), "{body:?}"),
            other => panic!("{body:?}: {other:?}"),
        });
    }
}

#[test]
fn bodies_count_only_as_forms_of_put_and_post() {
    for (method, content_type, counts) in [
        ("PUT", Some(FORM), true),
        ("POST", Some(FORM), true),
        ("PUT", Some("Application/X-WWW-Form-Urlencoded; charset=utf-8"), true),
        ("PUT", None, false),
        ("PUT", Some(""), false),
        ("PUT", Some("application/json"), false),
        ("PUT", Some("multipart/form-data; boundary=x"), false),
        ("GET", Some(FORM), false),
        ("HEAD", Some(FORM), false),
        ("DELETE", Some(FORM), false),
    ] {
        let failed = error(method, "", content_type, "ttl=x").is_some();
        assert_eq!(failed, counts, "{method} {content_type:?}");
    }
    assert_eq!(error("DELETE", "", Some("foo bar"), "a;b"), None, "the type does not matter either");
}

/// Each row breaks the named check and everything that is checked later.
#[test]
fn the_first_failing_check_is_the_answer() {
    let quoted = |name: &str| format!("invalid value for \"{name}\"");
    let bare = |name: &str| format!("invalid value for {name}");
    let only_get = String::from("\"wait\" can only be used with GET requests");
    let not_empty = String::from("\"prevValue\" cannot be empty");
    let rows: [(&str, u16, String); 16] = [
        ("prevIndex=-1", 203, quoted("prevIndex")),
        ("waitIndex=", 203, quoted("waitIndex")),
        ("recursive=yes", 209, quoted("recursive")),
        ("sorted", 209, quoted("sorted")),
        ("wait=tRue", 209, quoted("wait")),
        ("dir=01", 209, quoted("dir")),
        ("quorum=+true", 209, quoted("quorum")),
        ("stream=", 209, quoted("stream")),
        ("wait=true", 209, only_get),
        ("prevValue=", 201, not_empty),
        ("noValueOnSuccess=", 209, quoted("noValueOnSuccess")),
        ("ttl=-1", 202, quoted("ttl")),
        ("prevExist=", 209, bare("prevExist")),
        ("refresh=2", 209, bare("refresh")),
        ("refresh=true&value=x", 211, String::from("A value was provided on a refresh")),
        ("refresh=true", 212, String::from("No TTL value set")),
    ];
    for method in ["PUT", "POST", "DELETE", "HEAD"] {
        for (at, (_, code, cause)) in rows.iter().enumerate() {
            // `refresh=true` and `wait=true` contradict rows about the same name: of those, the first counts.
            let query: Vec<&str> = rows[at..].iter().map(|(query, ..)| *query).collect();
            assert_eq!(error(method, &query.join("&"), None, ""), Some((*code, cause.clone())), "{method} {query:?}");
        }
    }
}

#[test]
fn numbers_and_booleans_have_go_spellings() {
    for good in ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"] {
        assert_eq!(error("GET", &format!("recursive={good}"), None, ""), None, "{good}");
    }
    for bad in ["", "yes", "tRue", "01", "%20true%20", "on", "2"] {
        assert!(error("GET", &format!("recursive={bad}"), None, "").is_some(), "{bad}");
    }
    for good in ["0", "007", "18446744073709551615"] {
        assert_eq!(error("GET", &format!("prevIndex={good}&waitIndex={good}&ttl={good}"), None, ""), None, "{good}");
    }
    for bad in ["+1", "-0", "%201", "0x1", "1_0", "1.0", "18446744073709551616", "%D9%A1"] {
        for name in ["prevIndex", "waitIndex", "ttl"] {
            assert!(error("GET", &format!("{name}={bad}"), None, "").is_some(), "{name}={bad}");
        }
    }
}

#[test]
fn reads_are_checked_like_writes() {
    for (query, code) in [("refresh=true", 212), ("refresh=true&ttl=", 212), ("prevValue=", 201), ("ttl=bad", 202)] {
        assert_eq!(error("GET", query, None, "").map(|(code, _)| code), Some(code), "{query}");
    }
}

#[test]
fn the_first_value_counts_and_the_body_is_first() {
    for (query, body, code) in [
        ("prevValue=a", "prevValue=", Some(201)),
        ("prevValue=", "prevValue=a", None),
        ("recursive=true&recursive=bad", "", None),
        ("recursive=bad&recursive=true", "", Some(209)),
        ("recursive=bad", "recursive=true", None),
    ] {
        assert_eq!(error("PUT", query, Some(FORM), body).map(|(code, _)| code), code, "{query} {body}");
    }
}

/// Recorded from etcd 3.4.23 (Go 1.19).
#[test]
fn undecodable_forms_are_error_210() {
    let semicolon = "invalid semicolon separator in query";
    let escape = "invalid URL escape \"%zz\"";
    let slash = "mime: expected slash after first token";
    let parameter = "mime: invalid media parameter";
    for (method, query, content_type, body, cause) in [
        ("GET", "a;b", None, "", semicolon),
        ("GET", "a=%zz", None, "", escape),
        ("GET", "%zz=1", None, "", escape),
        ("GET", "a;b=%zz", None, "", semicolon),
        ("GET", "b=%zz&a;b", None, "", semicolon),
        ("GET", "recursive=bad&a=%zz", None, "", escape),
        ("PUT", "", Some(FORM), "a=%zz", escape),
        ("PUT", "", Some(FORM), "value=a;b", semicolon),
        ("PUT", "a;b", Some(FORM), "a=%zz", escape),
        ("PUT", "a=%zz", Some(FORM), "a;b", semicolon),
        ("PUT", "a=%zz", Some("foo bar"), "a;b", slash),
        ("POST", "", Some("foo bar"), "", slash),
        ("PUT", "prevIndex=x", Some("text/plain; x"), "", parameter),
        ("PUT", "", Some("; a=b"), "value=v", "mime: no media type"),
    ] {
        let got = error(method, query, content_type, body);
        assert_eq!(got, Some((210, cause.to_owned())), "{method} {query} {content_type:?} {body}");
    }
}

#[test]
fn bodies_that_are_too_large_fail_only_as_forms() {
    let decode = |content_type: &'static [u8]| {
        let raw = b"PUT /v2/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n";
        let mut decoder = Decoder::new(Limits { body_bytes: 10, ..Limits::default() });
        let Ok(Progress::Complete { request, .. }) = decoder.decode(raw) else {
            panic!("a body that is too large is not waited for");
        };
        assert_eq!(request.body, Body::TooLarge);
        let request = Request { content_type: Some(content_type), ..request };
        keys_request::decode(&request).map(|_| ()).map_err(|error| error.cause.into_owned())
    };
    let too_large = Err(String::from("http: POST too large"));
    assert_eq!(decode(FORM.as_bytes()), too_large);
    assert_eq!(decode(b"application/x-www-form-urlencoded; bad"), too_large);
    assert_eq!(decode(b"application/json"), Ok(()));
    assert_eq!(decode(b"foo bar"), Err(String::from("mime: expected slash after first token")));
}

#[test]
fn recursion_and_silence_are_reported_for_every_method() {
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
        for (query, recursive, silent) in [("recursive=true", true, false), ("noValueOnSuccess=true", false, true)] {
            with(method, query, None, "", |decoded| {
                let flags = decoded.map(|decoded| (decoded.recursive, decoded.no_value_on_success));
                assert_eq!(flags, Ok((recursive, silent)), "{method} {query}");
            });
        }
    }
}

#[test]
fn nothing_is_copied_when_nothing_is_escaped() {
    with("PUT", "prevValue=old&prevIndex=7", Some(FORM), "value=new&ttl=5", |decoded| {
        let Ok(KeysRequest::CompareAndSwap { value, prev_value, .. }) = decoded.map(|decoded| decoded.request) else {
            panic!("a compare-and-swap");
        };
        assert!(matches!((value, prev_value), (Cow::Borrowed(b"new"), Some(Cow::Borrowed(b"old")))));
    });
}
