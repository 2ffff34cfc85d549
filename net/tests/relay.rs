//! What a proxy makes of requests and answers, to the byte.

use std::net::IpAddr;

use net::http::client::decode_head;
use net::http::date::DateStamp;
use net::http::relay::{Additions, BodyRelay, write_request};
use net::http::request::{Body, Decoder, Exchange, Limits, Progress, Version};
use net::http::response::Next;

const CLIENT: &str = "10.0.0.7";

fn sent_on(input: &str, client: Option<IpAddr>) -> String {
    let mut decoder = Decoder::new(Limits::default());
    let Ok(Progress::Complete { request, consumed }) = decoder.decode(input.as_bytes()) else {
        panic!("{input:?} is no request");
    };
    assert_eq!(consumed, input.len());
    let Body::Bytes(body) = request.body else { panic!("{input:?} has no body") };
    let mut out = Vec::new();
    write_request(&mut out, &request, body, client, "member:2379");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_request_is_sent_on_without_what_was_for_the_proxy() {
    let client = Some(CLIENT.parse().expect("an address"));
    for (input, want) in [
        (
            "GET /v2/keys/a%20b?wait=true HTTP/1.1\r\nHost: h\r\nAuthorization: Basic x\r\n\r\n",
            "GET /v2/keys/a%20b?wait=true HTTP/1.1\r\nHost: h\r\nAuthorization: Basic x\r\nX-Forwarded-For: 10.0.0.7\r\n\r\n",
        ),
        (
            "GET http://other/a HTTP/1.0\r\nx-forwarded-for: 1.1.1.1, 2.2.2.2\r\nX-FORWARDED-FOR:3.3.3.3\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: member:2379\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.7\r\n\r\n",
        ),
        (
            "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nTE: trailers\r\n\
             Connection: keep-alive, X-Kept\r\nX-Kept: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nTrailers: x\r\n\
             Proxy-Authorization: x\r\nProxy-Authenticate: x\r\n\r\n3\r\nv=1\r\n0\r\nX: y\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: h\r\nX-Kept: 1\r\nX-Forwarded-For: 10.0.0.7\r\nContent-Length: 3\r\n\r\nv=1",
        ),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.0.0.7\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy",
            "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.0.0.7\r\nContent-Length: 2\r\n\r\nxy",
        ),
    ] {
        assert_eq!(sent_on(input, client), want);
        // It is one request for the next, too: sent on again it gains nothing but one more address.
        let again = sent_on(want, None);
        assert_eq!(again.split("\r\n\r\n").nth(1), want.split("\r\n\r\n").nth(1), "{again}");
    }
    let silent = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(sent_on(silent, None), silent);
}

/// The answer as the client gets it, and what becomes of its connection; it is decoded in steps of `step` bytes.
fn passed(answer: &str, exchange: Exchange, cors_origin: Option<&[u8]>, step: usize) -> (String, Next) {
    let date = DateStamp::at(0);
    let (head, mut at) = decode_head(answer.as_bytes(), exchange.head).expect("valid").expect("complete");
    let mut out = Vec::new();
    let mut relay = BodyRelay::begin(&mut out, &head, exchange, Additions { cors_origin, date: &date });
    let mut end = at;
    loop {
        let progress = relay.pass(&answer.as_bytes()[at..end], &mut out).expect("valid");
        at += progress.consumed;
        if progress.finished {
            return (String::from_utf8(out).expect("text"), relay.next());
        }
        if end == answer.len() {
            let next = relay.input_ended(&mut out).expect("it ends with the connection");
            return (String::from_utf8(out).expect("text"), next);
        }
        end = (end + step).min(answer.len());
    }
}

const HTTP11: Exchange = Exchange { version: Version::Http11, head: false, keep_alive: true };
const HTTP10: Exchange = Exchange { version: Version::Http10, head: false, keep_alive: false };

#[test]
fn an_answer_passes_whatever_its_framing() {
    let epoch = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let chunked =
        "HTTP/1.1 200 OK\r\nX: 1\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody";
    let cases = [
        (
            "HTTP/1.1 201 Created\r\nX-B: 2\r\nDate: D\r\nContent-Length: 4\r\nUpgrade: x\r\nA: 1\r\n\r\nbody",
            HTTP11,
            "HTTP/1.1 201 Created\r\nA: 1\r\nContent-Length: 4\r\nDate: D\r\nX-B: 2\r\n\r\nbody".to_owned(),
            Next::KeepAlive,
        ),
        (
            chunked,
            HTTP11,
            "HTTP/1.1 200 OK\r\nDate: D\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"
                .to_owned(),
            Next::KeepAlive,
        ),
        (chunked, HTTP10, "HTTP/1.0 200 OK\r\nDate: D\r\nX: 1\r\n\r\none\ntwo\n".to_owned(), Next::Close),
        (
            "HTTP/1.1 413 Too Big\r\nContent-Length: 0\r\n\r\n",
            Exchange { keep_alive: false, ..HTTP11 },
            format!("HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\n{epoch}Connection: close\r\n\r\n"),
            Next::Close,
        ),
        (
            "HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n",
            Exchange { keep_alive: true, ..HTTP10 },
            format!("HTTP/1.0 299 status code 299\r\nContent-Length: 0\r\n{epoch}Connection: keep-alive\r\n\r\n"),
            Next::KeepAlive,
        ),
        (until_close, HTTP10, format!("HTTP/1.0 200 OK\r\n{epoch}\r\nbody"), Next::Close),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 84\r\n\r\n",
            Exchange { head: true, ..HTTP11 },
            format!("HTTP/1.1 200 OK\r\nContent-Length: 84\r\n{epoch}\r\n"),
            Next::KeepAlive,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", HTTP11, format!("HTTP/1.1 204 No Content\r\n{epoch}\r\n"), Next::KeepAlive),
    ];
    for (answer, exchange, want, next) in cases {
        for step in [1, 2, 1000] {
            assert_eq!(passed(answer, exchange, None, step), (want.clone(), next), "in steps of {step}");
        }
    }
    let (got, next) = passed(until_close, HTTP11, None, 1000);
    let want = format!("HTTP/1.1 200 OK\r\n{epoch}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    assert_eq!((got, next), (want, Next::KeepAlive));
}

#[test]
fn the_proxy_s_own_cors_headers_replace_those_of_the_answer() {
    let answer = "HTTP/1.1 200 OK\r\nDate: D\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n";
    let want = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Headers: accept, content-type, authorization\r\n\
                Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n\
                Access-Control-Allow-Origin: http://a\r\nContent-Length: 0\r\nDate: D\r\n\r\n";
    assert_eq!(passed(answer, HTTP11, Some(b"http://a"), 1000).0, want);
    assert!(passed(answer, HTTP11, None, 1000).0.contains("Access-Control-Allow-Origin: *\r\n"));
}

#[test]
fn a_stream_of_events_ends_well_only_between_two_of_them() {
    let date = DateStamp::at(0);
    let begin = |head: &str| {
        let (head, _) = decode_head(head.as_bytes(), false).expect("valid").expect("complete");
        BodyRelay::begin(&mut Vec::new(), &head, HTTP11, Additions { cors_origin: None, date: &date })
    };
    for (body, ends_well) in [("", true), ("2\r\n{}\r\n", true), ("2\r\n{", false), ("2\r\n{}\r", false)] {
        let mut relay = begin("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        relay.pass(body.as_bytes(), &mut Vec::new()).expect("valid");
        let mut end = Vec::new();
        assert_eq!(relay.input_ended(&mut Vec::new()), None, "{body:?}");
        assert_eq!(relay.finish_early(&mut end).is_some(), ends_well, "{body:?}");
        assert_eq!(end, if ends_well { &b"0\r\n\r\n"[..] } else { b"" });
    }
    let mut relay = begin("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
    relay.pass(b"ab", &mut Vec::new()).expect("valid");
    assert_eq!((relay.input_ended(&mut Vec::new()), relay.finish_early(&mut Vec::new())), (None, None));
}
