//! Requests that must not be understood: the status of the answer, after which the connection is closed.
//!
//! Where Go answers otherwise, the row says so: each such row is something that two parsers may read differently.

use net::http::reject::Reject::{
    self, ExpectationFailed, HeadTooLarge, InvalidHeaderName, InvalidHeaderValue, Malformed, MalformedHost,
    MissingHost, NoRoom, UnsupportedTransferEncoding, UnsupportedVersion,
};
use net::http::request::{Decoder, Limits, Progress};

fn decode(input: &[u8]) -> Result<bool, Reject> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.decode(input).map(|progress| matches!(progress, Progress::Complete { .. }))
}

fn check(input: &[u8], want: Reject) {
    let shown = String::from_utf8_lossy(input);
    assert_eq!(decode(input), Err(want), "{shown:?}");
    // However it arrives, it is never taken for a request.
    let mut decoder = Decoder::new(Limits::default());
    let refused = (1..=input.len()).find_map(|len| match decoder.decode(&input[..len]) {
        Ok(Progress::Complete { .. }) => panic!("{shown:?} completed after {len} bytes"),
        Ok(Progress::Partial | Progress::Undecided { .. }) => None,
        Err(reject) => Some(reject),
    });
    assert_eq!(refused, Some(want), "{shown:?}, byte by byte");
}

/// The request line is the row, CRLF, a host, and the end of the head.
#[test]
fn request_lines() {
    for (line, want) in [
        ("", Malformed), // three empty lines: one more than is skipped
        (" GET / HTTP/1.1", Malformed),
        ("\tGET / HTTP/1.1", Malformed),
        ("GET", Malformed),
        ("GET /", Malformed),
        ("GET / ", Malformed),
        ("GET  / HTTP/1.1", Malformed),
        ("GET /  HTTP/1.1", Malformed),
        ("GET / HTTP/1.1 ", Malformed),
        ("GET /\tHTTP/1.1", Malformed),
        ("GET\t/ HTTP/1.1", Malformed),
        ("GET /a b HTTP/1.1", Malformed),
        ("G(T / HTTP/1.1", Malformed),
        ("G\u{e9}T / HTTP/1.1", Malformed),
        ("GET: / HTTP/1.1", Malformed),
        ("(GET / HTTP/1.1", Malformed),
        ("\u{1}GET / HTTP/1.1", Malformed),
        ("{}", Malformed),
        ("\u{16}\u{3}\u{1}\u{2}", Malformed),
        ("GET /a%zz HTTP/1.1", Malformed),
        ("GET /a% HTTP/1.1", Malformed),
        ("GET /a%1 HTTP/1.1", Malformed),
        ("GET /a%1?b HTTP/1.1", Malformed),
        ("GET /a\u{1}b HTTP/1.1", Malformed),
        ("GET /a\0b HTTP/1.1", Malformed),
        ("GET /a\u{7f}b HTTP/1.1", Malformed),
        ("GET /a?b\u{1} HTTP/1.1", Malformed),
        ("GET /a\rb HTTP/1.1", Malformed),
        ("GET a HTTP/1.1", Malformed),
        ("GET ?a HTTP/1.1", Malformed),
        ("GET :a HTTP/1.1", Malformed),
        ("GET *a HTTP/1.1", Malformed),
        ("GET http://h:x/ HTTP/1.1", Malformed),
        ("GET http://a%zz/ HTTP/1.1", Malformed),
        ("GET http://h/%zz HTTP/1.1", Malformed),
        ("GET http://[::1/ HTTP/1.1", Malformed),
        ("GET http://h|/ HTTP/1.1", Malformed),
        ("CONNECT h:x HTTP/1.1", Malformed),
        ("GET / http/1.1", Malformed),
        ("GET / HTTX/1.1", Malformed),
        ("GET / HTTP/1", Malformed),
        ("GET / HTTP/11", Malformed),
        ("GET / HTTP/1.", Malformed),
        ("GET / HTTP/.1", Malformed),
        ("GET / HTTP/1.11", Malformed),
        ("GET / HTTP/1.1.", Malformed),
        ("GET / HTTP/01.1", Malformed),
        ("GET / HTTP/1.1\0", Malformed),
        ("GET / HTTP/-1.1", Malformed),
        ("GET / HTTP/a.b", Malformed),
        ("GET / HTTP 1.1", Malformed),
        ("GET / HTTP/1.1\r", Malformed),
        ("GET / HTTP/0.9", UnsupportedVersion),
        ("GET / HTTP/2.0", UnsupportedVersion),
        ("GET / HTTP/3.0", UnsupportedVersion),
        ("GET / HTTP/9.9", UnsupportedVersion),
        ("PRI * HTTP/2.0", UnsupportedVersion),
    ] {
        let prefix = if line.is_empty() { "\r\n\r\n" } else { "" };
        check(format!("{prefix}{line}\r\nHost: h\r\n\r\n").as_bytes(), want);
    }
}

/// The row stands between a request line with a host and the end of the head.
#[test]
fn header_fields() {
    for (fields, want) in [
        ("A: b\r\n c", Malformed), // obs-fold; Go joins the lines
        ("A: b\r\n\tc", Malformed),
        (" A: b", Malformed),
        ("\tA: b", Malformed),
        ("A", Malformed),
        ("A b", Malformed),
        ("A : b", InvalidHeaderName),
        ("A\t: b", InvalidHeaderName),
        (": b", InvalidHeaderName), // Go ignores the line
        ("A(: b", InvalidHeaderName),
        ("A\u{e9}: b", InvalidHeaderName),
        ("A\0: b", InvalidHeaderName),
        ("A\u{7f}: b", InvalidHeaderName),
        ("A/B: c", InvalidHeaderName),
        ("\"A\": b", InvalidHeaderName),
        ("A@B: c", InvalidHeaderName),
        ("Content-Length : 0", InvalidHeaderName),
        ("Transfer-Encoding : chunked", InvalidHeaderName),
        ("\u{b}Transfer-Encoding: chunked", InvalidHeaderName),
        ("A: b\0c", InvalidHeaderValue),
        ("A: \u{1}", InvalidHeaderValue),
        ("A: b\u{7f}", InvalidHeaderValue),
        ("A: b\u{b}", InvalidHeaderValue),
        ("A: \u{1b}[0m", InvalidHeaderValue),
        ("Content-Length: \u{c}0", InvalidHeaderValue),
        ("A: b\rContent-Length: 5", Malformed), // a bare CR, which some take for a line end
        ("A: b\r", Malformed),
        ("\rA: b", InvalidHeaderName),
        ("Host: h", Malformed),
        ("Host: other", Malformed),
        ("hOST:h", Malformed),
        ("Expect: 200-ok", ExpectationFailed),
        ("Expect: 100-continues", ExpectationFailed),
    ] {
        check(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n").as_bytes(), want);
    }
}

/// The row stands between a request line without a host and the end of the head.
#[test]
fn hosts() {
    for (fields, want) in [
        ("A: b", MissingHost),
        ("Host : h", InvalidHeaderName),
        ("Host: a b", MalformedHost),
        ("Host: a/b", MalformedHost),
        ("Host: a@b", MalformedHost),
        ("Host: a\tb", MalformedHost),
        ("Host: \u{e9}", MalformedHost),
        ("Host: \"a\"", MalformedHost),
        ("Host: a?b", MalformedHost),
        ("Host: a#b", MalformedHost),
        ("Host: h\0", InvalidHeaderValue),
    ] {
        check(format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes(), want);
    }
    check(b"GET / HTTP/1.1\r\n\r\n", MissingHost);
    check(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", MalformedHost);
    check(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Malformed);
}

/// The row stands in the head of a POST, before a body that somebody might take for a request.
#[test]
fn lengths_and_codings() {
    const INNER: &str = "GET /inner HTTP/1.1\r\nHost: h\r\n\r\n";
    for (fields, want) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", Malformed), // Go drops the length
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", Malformed),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", Malformed),
        ("Content-Length: 3\r\nContent-Length: 3", Malformed), // Go takes equal ones
        ("Content-Length: 3\r\nContent-Length: 4", Malformed),
        ("Content-Length: 0\r\ncontent-length: 3", Malformed),
        ("Content-Length: 3, 3", Malformed),
        ("Content-Length: 3,4", Malformed),
        ("Content-Length:", Malformed), // Go takes it for absent
        ("Content-Length: -3", Malformed),
        ("Content-Length: +3", Malformed),
        ("Content-Length: 0x3", Malformed),
        ("Content-Length: 3.0", Malformed),
        ("Content-Length: 3 3", Malformed),
        ("Content-Length: 3\t4", Malformed),
        ("Content-Length: 3x", Malformed),
        ("Content-Length: x", Malformed),
        ("Content-Length: 1_0", Malformed),
        ("Content-Length: 1e1", Malformed),
        ("Content-Length: \u{661}", Malformed),
        ("Content-Length: 18446744073709551616", Malformed),
        ("Content-Length: 99999999999999999999999", Malformed),
        ("Transfer-Encoding: gzip", UnsupportedTransferEncoding),
        ("Transfer-Encoding: gzip, chunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked, gzip", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked, chunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked,", UnsupportedTransferEncoding),
        ("Transfer-Encoding: ,chunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked;q=1", UnsupportedTransferEncoding),
        ("Transfer-Encoding: \"chunked\"", UnsupportedTransferEncoding),
        ("Transfer-Encoding: xchunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunkedx", UnsupportedTransferEncoding),
        ("Transfer-Encoding: ch\u{212a}nked", UnsupportedTransferEncoding),
        ("Transfer-Encoding: identity", UnsupportedTransferEncoding),
        ("Transfer-Encoding:", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", UnsupportedTransferEncoding),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding:\r\n chunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked\r\n , gzip", Malformed),
        ("Content-Length: 1\r\n 0", Malformed),
        ("Transfer-Encoding: chunked\rContent-Length: 3", Malformed),
        ("Transfer-Encoding\r\n: chunked", Malformed),
    ] {
        check(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{INNER}").as_bytes(), want);
    }
    check(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Malformed); // Go reads the chunks
}

/// Bare line feeds, which Go takes for line ends, are refused wherever they stand.
#[test]
fn line_ends() {
    for input in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\nContent-Length: 5\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
    ] {
        check(input.as_bytes(), Malformed);
    }
}

/// The row is a chunked body.
#[test]
fn chunked_bodies() {
    let long_extension = format!("1;{}\r\n!\r\n0\r\n\r\n", "x".repeat(300));
    for body in [
        "\r\n",
        "x\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n!\r\n0\r\n\r\n",
        "0x1\r\n!\r\n0\r\n\r\n",
        " 1\r\n!\r\n0\r\n\r\n",
        "1 \r\n!\r\n0\r\n\r\n",
        "1\t\r\n!\r\n0\r\n\r\n",
        "1\n!\r\n0\r\n\r\n",
        "1\r!\r\n0\r\n\r\n",
        "1\r\n!\n0\r\n\r\n",
        "1\r\n!0\r\n\r\n",
        "1\r\n!!\r\n0\r\n\r\n",
        "2\r\n!\r\n0\r\n\r\n",
        "1\r\n!\r\r\n0\r\n\r\n",
        "1,\r\n!\r\n0\r\n\r\n",
        "1 ;x\r\n!\r\n0\r\n\r\n",
        "1;\0\r\n!\r\n0\r\n\r\n",
        "1;a\rb\r\n!\r\n0\r\n\r\n",
        "1;a\nb\r\n!\r\n0\r\n\r\n",
        "00000000000000001\r\n!\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nbad trailer\r\n\r\n",
        "0\r\nbad trailer: x\r\n\r\n", // Go takes this, and the next four
        "0\r\n: x\r\n\r\n",
        "0\r\nA: x\n\n",
        "0\r\nA: x\r\n folded\r\n\r\n",
        "0\r\nA: \u{1}\r\n\r\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n",
        "0;\u{1}\r\n\r\n",
        long_extension.as_str(),
    ] {
        check(format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}").as_bytes(), Malformed);
    }
}

/// A field that says where the message ends can not come after that.
#[test]
fn announced_trailers() {
    for name in ["Content-Length", "Transfer-Encoding", "x, trailer"] {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nTrailer: {name}\r\n");
        check(format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").as_bytes(), Malformed);
        assert_eq!(decode(format!("{head}\r\n").as_bytes()), Ok(true), "{name}");
    }
}

#[test]
fn heads_without_end() {
    let limit = Limits::default().head_bytes;
    for start in ["GET /", "GET / HTTP/1.1\r\nHost: h\r\nA: ", "GET / HTTP/1.1\r\nHost: h\r\nA", "G"] {
        let mut input = start.as_bytes().to_vec();
        input.resize(limit, b'a');
        assert_eq!(decode(&input), Err(HeadTooLarge), "{start:?}");
        assert_eq!(decode(&input[..limit - 1]), Ok(false), "{start:?}");
    }
    let fields = "A:\r\n".repeat(limit / 4);
    check(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes(), HeadTooLarge);
}

#[test]
fn statuses_of_the_answers() {
    for (reject, code) in [
        (Malformed, 400),
        (MissingHost, 400),
        (MalformedHost, 400),
        (InvalidHeaderName, 400),
        (InvalidHeaderValue, 400),
        (ExpectationFailed, 417),
        (HeadTooLarge, 431),
        (UnsupportedTransferEncoding, 501),
        (NoRoom, 503),
        (UnsupportedVersion, 505),
    ] {
        assert_eq!(reject.status().code(), code);
    }
    assert_eq!(Reject::ALL.len(), 10);
}
