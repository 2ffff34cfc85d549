//! What a request of the key space says in its path, its query and its body; and documents in bodies.

use net::document::{self, Kind, Value};
use net::form;
use net::http::request::{Body, Method, Request, Version};
use net::keys_request;
use net::router;
use net::target::{self, Target};

/// What they are made of.
pub(crate) const WORDS: &[&[u8]] = &[
    b"value=",
    b"ttl=",
    b"dir=true",
    b"prevExist=",
    b"prevValue=",
    b"prevIndex=",
    b"recursive=true",
    b"wait=true",
    b"waitIndex=",
    b"stream=1",
    b"quorum=true",
    b"refresh=true",
    b"noValueOnSuccess=true",
    b"&",
    b"=",
    b"%",
    b"%2e%2e",
    b"/../",
    b"/v2/keys",
    b"/v2/members/",
    b"application/x-www-form-urlencoded",
    b"; charset=\"",
    b"{\"peerURLs\":[",
    b"\"\\ud800",
    b"\0",
];

/// Values of a document that are looked at.
const VALUES_MAX: usize = 2000;

/// The input is a method's number, a path, a query, a media type and a body, with zeroes between them.
pub(crate) fn check(input: &[u8]) {
    let (method, rest) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
    let mut parts = rest.splitn(4, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (path, query, content_type, body) = (next(), next(), next(), next());
    let methods = [Method::Get, Method::Put, Method::Post, Method::Delete, Method::Head, Method::Options];
    let request = Request {
        method: methods[usize::from(method) % methods.len()],
        path,
        query: Some(query).filter(|query| !query.is_empty()),
        version: Version::Http11,
        keep_alive: true,
        content_type: Some(content_type).filter(|value| !value.is_empty()),
        origin: None,
        authorization: None,
        accept: None,
        accept_encoding: None,
        lines: b"",
        body: Body::Bytes(body),
    };
    check_target(&request);
    if let Err(error) = keys_request::decode(&request) {
        assert!(error.code >= 200 && error.code < 300, "{error:?}");
    }
    let _ = keys_request::reads_body(&request);
    [query, body].into_iter().for_each(check_form);
    check_document(body);
}

/// A clean path stays one when it is escaped and read again. A redirect leads to a clean path, without a control character.
fn check_target(request: &Request<'_>) {
    match target::resolve(request.method, request.path, request.query) {
        Target::Clean(path) => {
            let again = escaped(&path);
            assert_eq!(target::resolve(request.method, &again, None), Target::Clean(path.clone()));
            let _ = router::client(request.method, &path);
            let _ = router::peer(request.method, &path);
        }
        Target::Redirect(redirect) => {
            let location = redirect.location();
            let path = location.split(|byte| *byte == b'?').next().unwrap_or_default();
            assert!(path.iter().all(u8::is_ascii_graphic), "{path:?}");
            let again = target::resolve(request.method, path, None);
            assert!(matches!(again, Target::Clean(_)), "{path:?} leads to {again:?}");
            redirect.write_body(&mut Vec::new());
        }
        Target::Malformed => {}
    }
}

/// What was read comes out the same when it is written with every byte escaped.
fn check_form(text: &[u8]) {
    let Ok(pairs) = form::pairs(text).and_then(Iterator::collect::<Result<Vec<_>, _>>) else { return };
    let written = pairs.iter().map(|(name, value)| [&escaped(name)[..], b"=", &escaped(value)].concat());
    let written = written.collect::<Vec<_>>().join(&b'&');
    let again = form::pairs(&written).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    // A pair of nothing is written as "=".
    assert_eq!(again.as_ref(), Ok(&pairs));
}

fn escaped(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect()
}

/// A document that is read whole can be walked, and is one for another parser, too, if that takes its depth and its
/// surrogates.
fn check_document(text: &[u8]) {
    let _ = document::first(text).map(|value| walk(value, &mut 0));
    let Ok(value) = document::whole(text) else {
        let theirs: Result<serde_json::Value, _> = serde_json::from_slice(text);
        assert!(theirs.is_err(), "another parser reads {:?}", String::from_utf8_lossy(text));
        return;
    };
    walk(value, &mut 0);
}

fn walk(value: Value<'_>, seen: &mut usize) {
    *seen += 1;
    if *seen > VALUES_MAX {
        return;
    }
    let _ = value.string();
    match value.kind() {
        Kind::Object => value.members().for_each(|(_, member)| walk(member, seen)),
        Kind::Array => value.items().for_each(|item| walk(item, seen)),
        _ => {}
    }
}
