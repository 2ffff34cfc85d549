//! Bodies that nobody reads, or that the client holds back: what etcd's HTTP library makes of them.

use crate::harness::{Connection, Server};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
/// Shorter bodies are waited for, even if nobody reads them.
const UNREAD_MAX: usize = 256 << 10;

fn open(server: &Server) -> Connection {
    Connection::open(server.address()).expect("the server accepts")
}

/// A head that announces `length` bytes of body.
fn head(method: &str, target: &str, fields: &str, length: usize) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {length}\r\n\r\n")
}

/// Sends `bytes`, which must be answered with `status`, and then the connection closed.
fn answered_and_closed(server: &Server, method: &str, bytes: &str, status: u16) {
    let shown = &bytes[..bytes.len().min(200)];
    let mut connection = open(server);
    connection.send(bytes.as_bytes()).expect("the server reads");
    let response = connection.response(method).unwrap_or_else(|e| panic!("{shown:?}: {e}"));
    assert_eq!((response.status, response.header("Connection")), (status, Some("close")), "{shown:?}");
    connection.socket().shutdown(std::net::Shutdown::Write).expect("half-closed");
    assert_eq!(connection.rest().expect("closed"), b"", "{shown:?}");
}

/// Sends `bytes`, which must be answered with `status`, and the connection kept.
fn answered_and_kept(server: &Server, method: &str, bytes: &str, status: u16) {
    let shown = &bytes[..bytes.len().min(200)];
    let mut connection = open(server);
    connection.send(bytes.as_bytes()).expect("the server reads");
    let response = connection.response(method).unwrap_or_else(|e| panic!("{shown:?}: {e}"));
    assert_eq!((response.status, response.header("Connection")), (status, None), "{shown:?}");
    connection.request("GET", "/v2/keys/missing", None).expect("the server reads");
    assert_eq!(connection.response("GET").expect("the next answer").status, 404, "{shown:?}");
}

#[test]
fn a_client_is_told_to_go_on_only_where_its_body_is_read() {
    let server = Server::start();
    server.client().set("/there", "1");
    for (method, target, fields, status) in [
        ("PUT", "/nowhere", FORM, 404),
        ("PATCH", "/v2/keys/a", FORM, 405),
        ("PUT", "/v2//keys/a", FORM, 301),
        ("GET", "/v2/keys/there", FORM, 200),
        ("HEAD", "/v2/keys/there", FORM, 200),
        ("DELETE", "/v2/keys/missing", FORM, 404),
        ("OPTIONS", "/v2/keys/there", FORM, 200),
        ("GET", "*", FORM, 400),
        ("PUT", "/v2/keys/text", TEXT, 201),
        ("PUT", "/v2/keys/text", "", 200),
        ("PUT", "/v2/keys/text", "Content-Type: a/b/c\r\n", 400),
        ("POST", "/v2/members", TEXT, 415),
        ("PUT", "/v2/members/12", TEXT, 415),
        ("PUT", "/v2/members/zz", JSON, 404),
        ("DELETE", "/v2/members/12", JSON, 404),
        ("GET", "/config/local/log", JSON, 405),
        ("GET", "/version", "", 200),
    ] {
        let fields = format!("{fields}Expect: 100-continue\r\n");
        answered_and_closed(&server, method, &head(method, target, &fields, 7), status);
        // The body may have been sent all the same: it is no request.
        let sent = head(method, target, &fields, 7) + "value=1";
        answered_and_closed(&server, method, &sent, if status == 201 { 200 } else { status });
    }
}

#[test]
fn a_client_is_told_to_go_on_where_its_body_is_read() {
    let server = Server::start();
    for (method, target, fields, body, status) in [
        ("PUT", "/v2/keys/form", FORM, "value=1", 201),
        ("POST", "/v2/keys/forms", FORM, "value=1", 201),
        ("PUT", "/v2/keys/a?prevIndex=x", FORM, "value=1", 400),
        ("POST", "/v2/members", JSON, "{}", 400),
        ("PUT", "/v2/members/12", JSON, "{}", 400),
        ("PUT", "/config/local/log", "", "{\"Level\":\"INFO\"}", 204),
        ("OPTIONS", "*", "", "x", 200),
    ] {
        let mut connection = open(&server);
        let fields = format!("{fields}Expect: 100-continue\r\n");
        // What comes before it is answered before it.
        connection.request("GET", "/v2/keys/missing", None).expect("the server reads");
        connection.send(head(method, target, &fields, body.len()).as_bytes()).expect("the server reads");
        assert_eq!(connection.response("GET").expect("an answer").status, 404, "{target}");
        assert_eq!(connection.interim().expect("an interim answer"), "HTTP/1.1 100 Continue", "{target}");
        connection.send(body.as_bytes()).expect("the server reads");
        let response = connection.response(method).expect("an answer");
        assert_eq!((response.status, response.header("Connection")), (status, None), "{target}");
        connection.request("GET", "/v2/keys/missing", None).expect("the server reads");
        assert_eq!(connection.response("GET").expect("the connection is kept").status, 404, "{target}");
    }
}

#[test]
fn an_expectation_without_a_body_means_nothing() {
    let server = Server::start();
    answered_and_kept(&server, "PUT", &head("PUT", "/nowhere", "Expect: 100-continue\r\n", 0), 404);
    let old = "PUT /nowhere HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    let mut connection = open(&server);
    connection.send(old.as_bytes()).expect("the server reads");
    assert!(connection.response("PUT").expect("an answer").status_line.starts_with("HTTP/1.0 404"));
}

#[test]
fn short_bodies_that_nobody_reads_are_skipped_and_long_ones_end_the_connection() {
    let server = Server::start();
    server.client().set("/text", "1");
    let chunked = |method: &str, target: &str, fields: &str, length: usize| {
        let body = "v".repeat(length);
        format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        )
    };
    for (method, target, fields, status) in [
        ("GET", "/v2/keys/missing", "", 404),
        ("PUT", "/nowhere", FORM, 404),
        ("PUT", "/v2/keys/text", TEXT, 200),
        ("DELETE", "/v2/keys/missing", FORM, 404),
        ("GET", "/version", "", 200),
    ] {
        let body = "v".repeat(UNREAD_MAX - 1);
        answered_and_kept(&server, method, &(head(method, target, fields, UNREAD_MAX - 1) + &body), status);
        answered_and_kept(&server, method, &chunked(method, target, fields, UNREAD_MAX), status);
        answered_and_closed(&server, method, &head(method, target, fields, UNREAD_MAX), status);
        answered_and_closed(&server, method, &chunked(method, target, fields, UNREAD_MAX + 1), status);
    }
    // What is read may be longer.
    let form = format!("value={}", "v".repeat(UNREAD_MAX));
    answered_and_kept(&server, "PUT", &(head("PUT", "/v2/keys/form", FORM, form.len()) + &form), 201);
}

#[test]
fn the_server_as_such_answers_as_go_does() {
    let server = Server::start();
    for (request, names) in [
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", &["Connection", "Date", "Content-Length"][..]),
        ("HEAD * HTTP/1.1\r\nHost: x\r\n\r\n", &["Connection", "Date"]),
        ("GET * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &["Date", "Content-Length", "Connection"]),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", &["Content-Length", "Date"]),
    ] {
        let mut connection = open(&server);
        connection.send(request.as_bytes()).expect("the server reads");
        let method = request.split(' ').next().unwrap_or_default();
        let response = connection.response(method).expect("an answer");
        assert_eq!(response.status, if method == "OPTIONS" { 200 } else { 400 }, "{request:?}");
        let own: Vec<_> = response.header_names().into_iter().filter(|name| !name.starts_with("Access-")).collect();
        assert_eq!(own, names, "{request:?}");
    }
    answered_and_kept(&server, "OPTIONS", &(head("OPTIONS", "*", "", 4096) + &"v".repeat(4096)), 200);
    answered_and_closed(&server, "OPTIONS", &(head("OPTIONS", "*", "", 4097) + &"v".repeat(4097)), 200);
}
