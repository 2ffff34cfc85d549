//! Requests that are fine, and how the decoder takes them.

use net::http::reject::Reject;
use net::http::request::{Body, Decoder, Exchange, Limits, Method, Progress, Request, Version};

const SMALL: Limits = Limits { head_bytes: 128, body_bytes: 10, unread_bytes: 100 };

fn complete<'a>(decoder: &'a mut Decoder, input: &'a [u8]) -> (Request<'a>, usize) {
    match decoder.decode(input) {
        Ok(Progress::Complete { request, consumed }) => (request, consumed),
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(input)),
    }
}

fn is_partial(decoder: &mut Decoder, input: &[u8]) -> bool {
    decoder.decode(input) == Ok(Progress::Partial)
}

#[test]
fn a_form_is_decoded_in_place() {
    let input = b"PUT /v2/keys/a%20b?prevExist=true HTTP/1.1\r\nHost: 127.0.0.1:2379\r\nUser-Agent: curl/7.88.1\r\n\
        Accept: */*\r\nAccept-Encoding: gzip\r\nOrigin:http://a\r\nAuthorization: \t Basic cm9vdDpy \t\r\n\
        Content-Length: 7\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nvalue=1GET";
    let mut decoder = Decoder::new(Limits::default());
    let (request, consumed) = complete(&mut decoder, input);
    let want = Request {
        method: Method::Put,
        path: b"/v2/keys/a%20b",
        query: Some(b"prevExist=true"),
        version: Version::Http11,
        keep_alive: true,
        content_type: Some(b"application/x-www-form-urlencoded"),
        origin: Some(b"http://a"),
        authorization: Some(b"Basic cm9vdDpy"),
        accept: Some(b"*/*"),
        accept_encoding: Some(b"gzip"),
        lines: &input["PUT /v2/keys/a%20b?prevExist=true HTTP/1.1\r\n".len()..input.len() - "\r\nvalue=1GET".len()],
        body: Body::Bytes(b"value=1"),
    };
    assert_eq!((request, consumed), (want, input.len() - 3));
}

#[test]
fn what_is_let_through() {
    for (head, method, path, query) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Method::Get, "/", None),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Method::Get, "/", None),
        ("GET / HTTP/1.1\r\nHost: [::1]:2379\r\n\r\n", Method::Get, "/", None),
        ("GET / HTTP/1.0\r\n\r\n", Method::Get, "/", None),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", Method::Get, "/", None),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Method::Get, "/", None),
        ("get / HTTP/1.1\r\nHost: h\r\n\r\n", Method::Other(b"get"), "/", None),
        ("M-SEARCH / HTTP/1.1\r\nHost: h\r\n\r\n", Method::Other(b"M-SEARCH"), "/", None),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Method::Options, "*", None),
        ("CONNECT h:1 HTTP/1.1\r\n\r\n", Method::Connect, "", None),
        ("TRACE /a HTTP/1.1\r\nHost: h\r\n\r\n", Method::Trace, "/a", None),
        ("HEAD http://other/v2/keys/foo?a HTTP/1.1\r\nHost: h\r\n\r\n", Method::Head, "/v2/keys/foo", Some("a")),
        ("DELETE /a?x=%zz;y HTTP/1.1\r\nHost: h\r\n\r\n", Method::Delete, "/a", Some("x=%zz;y")),
        ("GET /\u{2603}?\u{2603} HTTP/1.1\r\nHost: h\r\n\r\n", Method::Get, "/\u{2603}", Some("\u{2603}")),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: caf\u{e9}\ttab\r\nEmpty:\r\nX-Y_Z.1: \r\n\r\n", Method::Get, "/", None),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0000\r\n\r\n", Method::Post, "/", None),
        ("POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding:CHUNKED\r\n\r\n0\r\n\r\n", Method::Post, "/", None),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect:\r\n\r\n", Method::Get, "/", None),
    ] {
        let mut decoder = Decoder::new(Limits::default());
        let (request, consumed) = complete(&mut decoder, head.as_bytes());
        let want = (method, path.as_bytes(), query.map(str::as_bytes), Body::Bytes(b""));
        assert_eq!((request.method, request.path, request.query, request.body), want, "{head:?}");
        assert_eq!(consumed, head.len(), "{head:?}");
    }
}

#[test]
fn the_connection_is_kept_as_version_and_headers_say() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Keep-Alive, Close\r\n", false),
        ("1.1", "Connection: upgrade\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let input = format!("HEAD / HTTP/{version}\r\nHost: h\r\n{connection}\r\n");
        let mut decoder = Decoder::new(Limits::default());
        let (request, _) = complete(&mut decoder, input.as_bytes());
        let version = if version == "1.1" { Version::Http11 } else { Version::Http10 };
        assert_eq!(request.exchange(), Exchange { version, head: true, keep_alive }, "{input:?}");
    }
}

/// Whether the client waits to be told to go on, and where the body begins, if somebody has to say whether it is read.
fn undecided(decoder: &mut Decoder, input: &[u8]) -> Option<(bool, usize)> {
    match decoder.decode(input).expect("valid") {
        Progress::Undecided { request, wants_continue, consumed } => {
            assert_eq!((request.body, request.keep_alive), (Body::Unread, false));
            Some((wants_continue, consumed))
        }
        _ => None,
    }
}

#[test]
fn a_body_held_back_is_asked_about_until_it_is_read() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n";
    for (framing, body) in
        [("Content-Length: 3\r\n\r\n", "abc"), ("Transfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n")]
    {
        let head = format!("{head}{framing}");
        let whole = format!("{head}{body}");
        let ask = Some((true, head.len()));
        let mut decoder = Decoder::new(Limits::default());
        assert!(is_partial(&mut decoder, &head.as_bytes()[..head.len() - 1]));
        assert_eq!(undecided(&mut decoder, head.as_bytes()), ask);
        assert_eq!(undecided(&mut decoder, whole.as_bytes()), ask, "also when the body has come");
        decoder.read_body();
        assert!(is_partial(&mut decoder, &whole.as_bytes()[..whole.len() - 1]), "once");
        assert_eq!(complete(&mut decoder, whole.as_bytes()).0.body, Body::Bytes(b"abc"));
        assert_eq!(undecided(&mut decoder, head.as_bytes()), ask, "the next request asks again");
    }
    let none = format!("{head}Content-Length: 0\r\n\r\n");
    assert!(complete(&mut Decoder::new(SMALL), none.as_bytes()).0.keep_alive, "there is nothing to hold back");
    let too_large = format!("{head}Content-Length: 11\r\n\r\n");
    let ask = Some((false, too_large.len()));
    assert_eq!(undecided(&mut Decoder::new(SMALL), too_large.as_bytes()), ask, "it need not be sent");
    let old = b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert!(is_partial(&mut Decoder::new(Limits::default()), old), "HTTP/1.0 knows no interim answers");
}

#[test]
fn a_long_body_is_asked_about() {
    let limits = Limits { body_bytes: 20, unread_bytes: 10, ..Limits::default() };
    let (start, ask) = ("PUT / HTTP/1.1\r\nHost: h\r\n", |head: &str| Some((false, head.len())));
    for (length, asks) in [(9, false), (10, true), (20, true), (21, true), (u64::MAX, true)] {
        let head = format!("{start}Content-Length: {length}\r\n\r\n");
        let mut decoder = Decoder::new(limits);
        assert_eq!(undecided(&mut decoder, head.as_bytes()), ask(&head).filter(|_| asks), "{length}");
        if length > 20 {
            decoder.read_body();
            assert_eq!(complete(&mut decoder, head.as_bytes()).0.body, Body::TooLarge, "{length}");
        }
    }
    let head = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
    for (body, asks) in [
        ("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", false),
        ("5\r\n01234\r\n6\r\n56789a", true),
        ("5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n", true),
        ("5\r\n01234\r\n10\r\n", true), // More than is accepted, should it be read.
    ] {
        let input = format!("{head}{body}");
        assert_eq!(undecided(&mut Decoder::new(limits), input.as_bytes()), ask(&head).filter(|_| asks), "{body:?}");
    }
    let mut decoder = Decoder::new(limits);
    let input = format!("{head}5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n");
    assert!(undecided(&mut decoder, &input.as_bytes()[..input.len() - 7]).is_some());
    decoder.read_body();
    assert_eq!(complete(&mut decoder, input.as_bytes()).0.body, Body::Bytes(b"0123456789a"));
}

#[test]
fn heads_may_be_as_long_as_the_limit() {
    let head = |padding: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(padding));
    let fits = SMALL.head_bytes - head(0).len();
    complete(&mut Decoder::new(SMALL), head(fits).as_bytes());
    assert_eq!(Decoder::new(SMALL).decode(head(fits + 1).as_bytes()), Err(Reject::HeadTooLarge));
    let endless = "GET /".to_owned() + &"a".repeat(SMALL.head_bytes);
    assert!(is_partial(&mut Decoder::new(SMALL), &endless.as_bytes()[..SMALL.head_bytes - 1]));
    assert_eq!(Decoder::new(SMALL).decode(endless.as_bytes()), Err(Reject::HeadTooLarge));
}

#[test]
fn a_head_may_have_as_many_fields_as_fit() {
    let start = "GET / HTTP/1.1\r\nHost: h\r\n";
    let fields = (Limits::default().head_bytes - start.len() - 2) / "A:\r\n".len();
    assert!(fields > 250_000);
    let head = format!("{start}{}\r\n", "A:\r\n".repeat(fields));
    assert_eq!(complete(&mut Decoder::new(Limits::default()), head.as_bytes()).1, head.len());
}

#[test]
fn etcd_s_own_limits_are_the_default() {
    let key = format!("GET /v2/keys/{} HTTP/1.1\r\nHost: h\r\n\r\n", "k".repeat(1 << 20));
    complete(&mut Decoder::new(Limits::default()), key.as_bytes());
    for (len, fits) in [(10_485_760, true), (10_485_761, false)] {
        let mut put = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n").into_bytes();
        put.resize(put.len() + len, b'x');
        let mut decoder = Decoder::new(Limits::default());
        assert!(undecided(&mut decoder, &put).is_some());
        decoder.read_body();
        let (request, _) = complete(&mut decoder, &put);
        assert_eq!(request.body.bytes().map(<[u8]>::len), Some(len).filter(|_| fits));
        assert_eq!(request.keep_alive, fits);
    }
}

#[test]
fn chunked_bodies_are_limited_too() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, want) in [
        ("a\r\n0123456789\r\n0\r\n\r\n", Body::Bytes(b"0123456789")),
        ("a\r\n0123456789\r\n0\r\nX-Sum: y\r\n\r\n", Body::Bytes(b"0123456789")),
        ("b\r\n", Body::TooLarge),
        ("9\r\n012345678\r\n2\r\n", Body::TooLarge),
        ("ffffffffffffffff\r\n", Body::TooLarge),
    ] {
        let input = format!("{head}{body}");
        let mut decoder = Decoder::new(SMALL);
        if undecided(&mut decoder, input.as_bytes()).is_some() {
            decoder.read_body();
        } else {
            decoder = Decoder::new(SMALL);
        }
        let (request, _) = complete(&mut decoder, input.as_bytes());
        assert_eq!((request.body, request.keep_alive), (want, want != Body::TooLarge), "{body:?}");
    }
    // Ten bytes of data in a flood of extensions: the limit on the wire stops what the limit on data does not.
    let padded = format!("1;{}\r\nx\r\n", "e".repeat(200));
    let mut decoder = Decoder::new(Limits { body_bytes: 40, ..Limits::default() });
    let flood = format!("{head}{}", padded.repeat(39));
    assert!(undecided(&mut decoder, flood.as_bytes()).is_some());
    decoder.read_body();
    assert_eq!(complete(&mut decoder, flood.as_bytes()).0.body, Body::TooLarge);
}

#[test]
fn chunks_that_grow_too_large_are_found_out_wherever_they_are_cut() {
    let input =
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n012345678\r\n2\r\nab\r\n0\r\n\r\n";
    for cut in 1..input.len() {
        let mut decoder = Decoder::new(SMALL);
        let mut read = |end: usize| {
            if let Ok(Progress::Undecided { .. }) = decoder.decode(&input[..end]) {
                decoder.read_body();
            }
            matches!(decoder.decode(&input[..end]), Ok(Progress::Complete { request, .. }) if request.body == Body::TooLarge)
        };
        assert!(read(cut) || read(input.len()), "cut at {cut}");
    }
}

#[test]
fn a_decoder_knows_whether_it_is_inside_a_request() {
    let input = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut decoder = Decoder::new(Limits::default());
    assert!(is_partial(&mut decoder, b""));
    assert!(!decoder.is_inside_request());
    assert!(is_partial(&mut decoder, &input[..1]));
    assert!(decoder.is_inside_request());
    complete(&mut decoder, input);
    assert!(!decoder.is_inside_request());
}
