//! Requests over HTTP, as clients and peers send them: head and body.

use net::http::reject::Reject;
use net::http::relay::write_request;
use net::http::request::{Decoder, Limits, Progress, Request};

/// What heads are made of.
pub(crate) const WORDS: &[&[u8]] = &[
    b"GET ",
    b"PUT ",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"Host: h\r\n",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"5;x=y\r\n",
    b"http://h:1/",
    b"%2F",
    b" ",
    b"\t",
];

/// Small, so that mutations reach them.
const LIMITS: Limits = Limits { head_bytes: 600, body_bytes: 200, unread_bytes: 50 };

/// What must be the same however the bytes arrive.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    keep_alive: bool,
    lines: Vec<u8>,
    body: Option<Vec<u8>>,
}

impl Seen {
    fn of(request: &Request<'_>) -> Self {
        Self {
            method: request.method.as_bytes().to_vec(),
            path: request.path.to_vec(),
            query: request.query.map(<[u8]>::to_vec),
            keep_alive: request.keep_alive,
            lines: request.lines.to_vec(),
            body: request.body.bytes().map(<[u8]>::to_vec),
        }
    }
}

/// All requests of a connection, and why it ends if it does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    requests: Vec<Seen>,
    refused: Option<Reject>,
}

/// However a stream is cut: the same requests, and the same refusal at the same place. Every request means what it would mean
/// alone, whatever came before it, and what is passed on of it is understood as that request.
pub(crate) fn check(input: &[u8]) {
    let whole = listen(input, &[], &mut |request, bytes| {
        if request.body.bytes().is_some() {
            let alone = listen(bytes, &[], &mut |_, _| {});
            assert_eq!(alone, Heard { requests: vec![Seen::of(request)], refused: None });
        }
        pass_on(request);
    });
    let each: Vec<usize> = (1..input.len().min(400)).collect();
    let step = 1 + input.len() / 3;
    let few: Vec<usize> = (step..input.len()).step_by(step).collect();
    for cuts in [each, few] {
        let cut = listen(input, &cuts, &mut |_, _| {});
        assert_eq!(cut, whole, "cut at {cuts:?}");
    }
}

fn listen(input: &[u8], cuts: &[usize], also: &mut dyn FnMut(&Request<'_>, &[u8])) -> Heard {
    let mut decoder = Decoder::new(LIMITS);
    let (mut heard, mut start) = (Heard::default(), 0);
    for &end in cuts.iter().chain([&input.len()]) {
        loop {
            match decoder.decode(&input[start..end]) {
                Ok(Progress::Partial) => break,
                Ok(Progress::Undecided { .. }) => decoder.read_body(),
                Ok(Progress::Complete { request, consumed }) => {
                    assert!(0 < consumed && consumed <= end - start, "{consumed} bytes of {}", end - start);
                    also(&request, &input[start..start + consumed]);
                    heard.requests.push(Seen::of(&request));
                    let goes_on = request.keep_alive && request.body.bytes().is_some();
                    start += consumed;
                    if !goes_on {
                        return heard;
                    }
                }
                Err(reject) => return Heard { refused: Some(reject), ..heard },
            }
        }
    }
    heard
}

/// As the proxy does.
fn pass_on(request: &Request<'_>) {
    let Some(body) = request.body.bytes() else { return };
    let mut out = Vec::new();
    write_request(&mut out, request, body, None, "other:1");
    let mut decoder = Decoder::new(Limits::default());
    let mut progress = decoder.decode(&out);
    if let Ok(Progress::Undecided { .. }) = progress {
        decoder.read_body();
        progress = decoder.decode(&out);
    }
    let Ok(Progress::Complete { request: again, consumed }) = progress else {
        panic!("{:?} is passed on as {:?}: {progress:?}", request, String::from_utf8_lossy(&out))
    };
    assert_eq!(consumed, out.len(), "nothing is left over that could be another request");
    assert_eq!((again.method, again.body.bytes()), (request.method, Some(body)));
    assert!(again.keep_alive);
}
