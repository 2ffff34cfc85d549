//! Answers, byte by byte. Those of whole requests were recorded from etcd 2.3.8 and 3.4.23.

use net::http::date::DateStamp;
use net::http::request::{Exchange, Version};
use net::http::response::{self, Head, Next, content_type};
use net::http::status::Status;

const DATE: &str = "Date: Tue, 24 Nov 2026 06:45:21 GMT\r\n";
const CID: &str = "ab8e2a87ae33bed8";
const PLAIN: Exchange = Exchange { version: Version::Http11, head: false, keep_alive: true };
const HEAD: Exchange = Exchange { head: true, ..PLAIN };
const OLD: Exchange = Exchange { version: Version::Http10, head: false, keep_alive: false };
const OLD_KEPT: Exchange = Exchange { keep_alive: true, ..OLD };

fn date() -> DateStamp {
    DateStamp::at(1_795_502_721)
}

fn written(head: Head<'_>, exchange: Exchange, body: &[u8]) -> (String, Next) {
    let mut out = Vec::new();
    let next = head.write(&mut out, exchange, &date(), body);
    (String::from_utf8(out).expect("ASCII"), next)
}

#[test]
fn a_success_of_the_key_space() {
    let head = Head::json(Status::Created).cluster_id(CID).etcd_index(4).raft(56, 2);
    let body = "{\"action\":\"set\"}\n";
    let want = format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Etcd-Cluster-Id: {CID}\r\nX-Etcd-Index: 4\r\n\
         X-Raft-Index: 56\r\nX-Raft-Term: 2\r\n{DATE}Content-Length: 17\r\n\r\n{body}"
    );
    assert_eq!(written(head, PLAIN, body.as_bytes()), (want, Next::KeepAlive));
}

#[test]
fn an_error_with_cors_over_http_1_0() {
    let head = Head::json(Status::NotFound).cors(Some(b"*")).cluster_id(CID).etcd_index(21);
    let want = |connection: &str| {
        format!(
            "HTTP/1.0 404 Not Found\r\nAccess-Control-Allow-Headers: accept, content-type, authorization\r\n\
             Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\nAccess-Control-Allow-Origin: *\r\n\
             Content-Type: application/json\r\nX-Etcd-Cluster-Id: {CID}\r\nX-Etcd-Index: 21\r\n{DATE}\
             Content-Length: 2\r\n{connection}\r\n"
        )
    };
    assert_eq!(written(head, OLD, b"{}"), (want("") + "{}", Next::Close));
    assert_eq!(written(head, OLD_KEPT, b"{}"), (want("Connection: keep-alive\r\n") + "{}", Next::KeepAlive));
    let old_head = Exchange { head: true, ..OLD_KEPT };
    assert_eq!(written(head, old_head, b"{}"), (want("Connection: keep-alive\r\n"), Next::KeepAlive));
}

#[test]
fn plain_errors_and_redirects() {
    let head = Head::plain_error(Status::MethodNotAllowed).allow("HEAD,GET,PUT,POST,DELETE");
    let want = format!(
        "HTTP/1.1 405 Method Not Allowed\r\nAllow: HEAD,GET,PUT,POST,DELETE\r\nContent-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\n{DATE}Content-Length: 19\r\n\r\nMethod Not Allowed\n"
    );
    assert_eq!(written(head, PLAIN, response::METHOD_NOT_ALLOWED_BODY).0, want);
    let want = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
         {DATE}Content-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n"
    );
    let got = written(Head::plain_error(Status::NotFound), PLAIN.closing(), response::NOT_FOUND_BODY);
    assert_eq!(got, (want, Next::Close));
    let redirect = Head::new(Status::MovedPermanently).location(b"/v2/keys/q");
    let want = format!("HTTP/1.1 301 Moved Permanently\r\nLocation: /v2/keys/q\r\n{DATE}Content-Length: 0\r\n\r\n");
    assert_eq!(written(redirect, PLAIN, b"").0, want);
    let want = format!(
        "HTTP/1.1 301 Moved Permanently\r\nContent-Type: text/html; charset=utf-8\r\nLocation: /v2/keys/q\r\n{DATE}\r\n"
    );
    assert_eq!(
        written(redirect.content_type(content_type::HTML), HEAD, b"").0,
        want,
        "HEAD has neither length nor body"
    );
}

#[test]
fn guessed_types_follow_the_length_and_need_a_body() {
    let head = Head::new(Status::Ok).sniffed_type(content_type::TEXT);
    let want =
        format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: 18\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
    let body = b"{\"health\": \"true\"}";
    assert_eq!(written(head, PLAIN, body).0, want.clone() + "{\"health\": \"true\"}");
    assert_eq!(written(head, HEAD, body).0, want);
    assert_eq!(written(head, PLAIN, b"").0, format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: 0\r\n\r\n"));
}

#[test]
fn no_content_has_no_length() {
    let head = Head::new(Status::NoContent).cluster_id(CID);
    let want = format!("HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: {CID}\r\n{DATE}\r\n");
    assert_eq!(written(head, PLAIN, b""), (want, Next::KeepAlive));
}

#[test]
fn bodies_beyond_2048_bytes_are_chunked() {
    let (small, large) = ("x".repeat(2048), "x".repeat(2049));
    let length = "Content-Length: 2048\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (exchange, body, framing, payload, next) in [
        (PLAIN, &small, length, small.clone(), Next::KeepAlive),
        (PLAIN, &large, chunked, format!("801\r\n{large}\r\n0\r\n\r\n"), Next::KeepAlive),
        (
            PLAIN.closing(),
            &large,
            "Connection: close\r\nTransfer-Encoding: chunked\r\n",
            format!("801\r\n{large}\r\n0\r\n\r\n"),
            Next::Close,
        ),
        (HEAD, &small, length, String::new(), Next::KeepAlive),
        (HEAD, &large, "", String::new(), Next::KeepAlive),
        (OLD, &large, "", large.clone(), Next::Close),
        (OLD_KEPT, &large, "", large.clone(), Next::Close),
    ] {
        let (got, got_next) = written(Head::new(Status::Ok), exchange, body.as_bytes());
        let version = if exchange.version == Version::Http11 { "1.1" } else { "1.0" };
        assert_eq!(got, format!("HTTP/{version} 200 OK\r\n{DATE}{framing}\r\n{payload}"), "{exchange:?}");
        assert_eq!(got_next, next, "{exchange:?}");
    }
}

#[test]
fn watches_are_chunked_whatever_their_size() {
    let head = Head::json(Status::Ok).cluster_id(CID).etcd_index(184).raft(739, 2);
    let headers = format!(
        "Content-Type: application/json\r\nX-Etcd-Cluster-Id: {CID}\r\nX-Etcd-Index: 184\r\nX-Raft-Index: 739\r\n\
         X-Raft-Term: 2\r\n{DATE}"
    );
    let chunks = "8\r\n{\"a\":1}\n\r\n0\r\n\r\n";
    let close = "Connection: close\r\n";
    for (exchange, want, next) in [
        (PLAIN, format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n{chunks}"), Next::KeepAlive),
        (
            PLAIN.closing(),
            format!("HTTP/1.1 200 OK\r\n{headers}{close}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
            Next::Close,
        ),
        (OLD_KEPT, format!("HTTP/1.0 200 OK\r\n{headers}\r\n{{\"a\":1}}\n"), Next::Close),
    ] {
        let mut out = Vec::new();
        head.write_stream_head(&mut out, exchange, &date());
        response::write_chunk(&mut out, exchange, b"{\"a\":1}\n");
        assert_eq!(response::finish_stream(&mut out, exchange), next);
        assert_eq!(String::from_utf8_lossy(&out), want);
    }
}

#[test]
fn chunk_sizes_are_hex() {
    for (len, size) in [(1, "1"), (15, "f"), (16, "10"), (89, "59"), (255, "ff"), (256, "100"), (1_048_576, "100000")] {
        let mut out = Vec::new();
        response::write_chunk(&mut out, PLAIN, &vec![b'x'; len]);
        assert!(out.starts_with(format!("{size}\r\nx").as_bytes()), "{len}");
    }
}
