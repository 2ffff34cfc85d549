//! Properties over generated input: splits, pipelines, the comparison with httparse, and references for JSON and forms.

use std::fmt::Write as _;

use net::form;
use net::http::client;
use net::http::request::{Body, Decoder, Limits, Method, Progress, Request, Version};
use net::json;
use proptest::prelude::*;

/// A request, owned: what must be the same however the bytes arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    keep_alive: bool,
    content_type: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
}

impl Seen {
    fn of(request: &Request<'_>) -> Self {
        Self {
            method: request.method.as_bytes().to_vec(),
            path: request.path.to_vec(),
            query: request.query.map(<[u8]>::to_vec),
            keep_alive: request.keep_alive,
            content_type: request.content_type.map(<[u8]>::to_vec),
            body: request.body.bytes().map(<[u8]>::to_vec),
        }
    }
}

/// Feeds `input` in pieces that end at `cuts`, as a connection would, and returns every request in it.
fn feed(input: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut decoder = Decoder::new(Limits::default());
    let (mut seen, mut start) = (Vec::new(), 0);
    for &end in cuts.iter().chain([&input.len()]) {
        loop {
            match decoder.decode(&input[start..end]).expect("the request is valid") {
                Progress::Partial => break,
                Progress::Undecided { .. } => decoder.read_body(),
                Progress::Complete { request, consumed } => {
                    seen.push(Seen::of(&request));
                    start += consumed;
                }
            }
        }
    }
    assert_eq!(start, input.len(), "nothing is left over");
    seen
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        out.extend(format!("{:X};ext=1\r\n", piece.len()).into_bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

prop_compose! {
    /// A valid request, and what should be seen of it.
    fn valid()(
        method in prop_oneof!["GET|PUT|POST|DELETE|HEAD|OPTIONS", "[A-Z!#$%&'*+.^_`|~-]{1,9}"],
        path in "/[!-\"$&->@-~\u{a1}-\u{ff}]{0,20}",
        query in proptest::option::of("[!-~]{1,20}"),
        fields in proptest::collection::vec(("X-[A-Za-z0-9_]{1,8}", "[ -~\t\u{a1}-\u{ff}]{0,20}"), 0..5),
        content_type in proptest::option::of("[!-~]([ -~]{0,12}[!-~])?"),
        close in any::<bool>(),
        expect in any::<bool>(),
        leading in 0..3usize,
        body in proptest::collection::vec(any::<u8>(), 0..40),
        chunk in proptest::option::of(1..20usize),
    ) -> (Vec<u8>, Seen) {
        let query_part = query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let mut raw = "\r\n".repeat(leading) + &format!("{method} {path}{query_part} HTTP/1.1\r\nHost: h\r\n");
        for (name, value) in &fields {
            write!(raw, "{name}:{value}\r\n").expect("into memory");
        }
        if let Some(value) = &content_type {
            write!(raw, "content-type: {value}\r\n").expect("into memory");
        }
        raw += if close { "Connection: close\r\n" } else { "" };
        raw += if expect { "Expect: 100-continue\r\n" } else { "" };
        match chunk {
            Some(_) => raw += "Transfer-Encoding: chunked\r\n\r\n",
            None => write!(raw, "Content-Length: {}\r\n\r\n", body.len()).expect("into memory"),
        }
        let mut raw = raw.into_bytes();
        raw.extend(chunk.map_or(body.clone(), |size| chunked(&body, size)));
        let seen = Seen {
            method: method.into_bytes(),
            path: path.into_bytes(),
            query: query.map(String::into_bytes),
            keep_alive: !close,
            content_type: content_type.map(String::into_bytes),
            body: Some(body),
        };
        (raw, seen)
    }
}

prop_compose! {
    /// A head without a body, good or bad, whose field lines are likely to be those of another one.
    fn repetitive()(
        line in proptest::sample::select(&["GET /a HTTP/1.1\r\n", "HEAD /b?c HTTP/1.0\r\n", "PUT /d HTTP/1.1\r\n"][..]),
        fields in proptest::sample::subsequence(
            vec!["Host: h\r\n", "Accept: a\r\n", "Connection: close\r\n", "Content-Length: 0\r\n", "Origin:\t o \r\n", "A b\r\n"],
            0..4,
        ),
    ) -> Vec<u8> {
        [&[line], &fields[..], &["\r\n"]].concat().concat().into_bytes()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_the_same_at_every_split((raw, want) in valid()) {
        for cut in 0..=raw.len() {
            prop_assert_eq!(&feed(&raw, &[cut]), std::slice::from_ref(&want));
        }
        prop_assert_eq!(feed(&raw, &(0..raw.len()).collect::<Vec<_>>()), [want]);
    }

    /// Whatever was read before on the same connection, and however much of it comes again.
    #[test]
    fn field_lines_that_come_again_are_read_alike(
        heads in proptest::collection::vec(repetitive(), 1..8),
        cut in 0..200usize,
    ) {
        let mut decoder = Decoder::new(Limits::default());
        for head in &heads {
            let mut alone = Decoder::new(Limits::default());
            let want = alone.decode(head).map(|progress| format!("{progress:?}"));
            // Part of it first, now and then.
            if head.len() > cut && decoder.decode(&head[..cut]).is_err() {
                prop_assert!(want.is_err());
                break;
            }
            let got = decoder.decode(head).map(|progress| format!("{progress:?}"));
            prop_assert_eq!(&got, &want);
            if got.is_err() {
                break;
            }
        }
    }

    #[test]
    fn pipelined_requests_come_out_one_by_one(
        requests in proptest::collection::vec(valid(), 1..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let raw: Vec<u8> = requests.iter().flat_map(|(raw, _)| raw.clone()).collect();
        let want: Vec<Seen> = requests.into_iter().map(|(_, seen)| seen).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(raw.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(feed(&raw, &cuts), want);
    }

    #[test]
    fn no_bytes_make_it_panic(
        input in proptest::collection::vec(any::<u8>(), 0..300),
        cut in any::<prop::sample::Index>(),
    ) {
        throw_at_both_decoders(&input, cut.index(input.len() + 1));
    }

    /// Stricter than httparse, on purpose: bare LF, a control byte in the target, the checks of hosts, lengths, codings
    /// and escapes, three and more leading empty lines. Looser: HTTP/1.2 and later, and targets that are no UTF-8.
    #[test]
    fn what_is_accepted_httparse_accepts_alike(
        (mut raw, _) in valid(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        kind in 0..3u8,
    ) {
        let at = at.index(raw.len());
        match kind {
            0 => raw[at] = to,
            1 => raw.insert(at, to),
            _ => _ = raw.remove(at),
        }
        compare_with_httparse(&raw)?;
    }

    #[test]
    fn json_strings_are_as_the_reference_writes_them(text in proptest::collection::vec(interesting_byte(), 0..60)) {
        let mut out = Vec::new();
        json::push_escaped(&mut out, &text);
        prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), reference_escape(&text));
    }

    #[test]
    fn forms_are_as_the_reference_reads_them(text in "([a-c%+&=;]|%[0-9a-f]{2}|\u{e9}){0,30}") {
        prop_assert_eq!(read_form(&text), reference_form(&text));
    }
}

fn throw_at_both_decoders(input: &[u8], cut: usize) {
    let mut decoder = Decoder::new(Limits { head_bytes: 200, body_bytes: 20, unread_bytes: 10 });
    let is_undecided = match decoder.decode(&input[..cut]) {
        Ok(Progress::Partial) => Some(false),
        Ok(Progress::Undecided { .. }) => Some(true),
        Ok(Progress::Complete { .. }) | Err(_) => None,
    };
    if let Some(is_undecided) = is_undecided {
        if is_undecided {
            decoder.read_body();
        }
        let _ = decoder.decode(input);
    }
    if let Ok(Some((head, len))) = client::decode_head(input, false) {
        let _ = head.body().decode(&input[len..], &mut Vec::new());
    }
}

/// What we accept, httparse accepts, and reads alike.
fn compare_with_httparse(raw: &[u8]) -> Result<(), TestCaseError> {
    let mut decoder = Decoder::new(Limits::default());
    let Ok(Progress::Complete { request, .. }) = decoder.decode(raw) else {
        return Ok(());
    };
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut theirs = httparse::Request::new(&mut fields);
    let status = theirs.parse(raw);
    let is_text = str::from_utf8(request.path).is_ok() && str::from_utf8(request.query.unwrap_or(&[])).is_ok();
    if status == Err(httparse::Error::Version) || !is_text {
        prop_assert_eq!(request.version, Version::Http11);
        return Ok(());
    }
    let shown = String::from_utf8_lossy(raw);
    prop_assert!(matches!(status, Ok(httparse::Status::Complete(_))), "{:?}: {:?}", status, shown);
    prop_assert_eq!(theirs.method.map(str::as_bytes), Some(request.method.as_bytes()));
    let whole = theirs.path.unwrap_or_default().as_bytes();
    if whole.starts_with(b"/") && request.method != Method::Connect {
        let (path, query) = whole.split_at(whole.iter().position(|&byte| byte == b'?').unwrap_or(whole.len()));
        prop_assert_eq!(path, request.path);
        prop_assert_eq!(query.get(1..).filter(|query| !query.is_empty()), request.query);
    }
    let named = |name: &str| theirs.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let theirs_type = named("content-type").map(|field| field.value.trim_ascii());
    prop_assert_eq!(theirs_type, request.content_type.map(<[u8]>::trim_ascii));
    if let (Some(length), Body::Bytes(body)) = (named("content-length"), request.body) {
        prop_assert_eq!(String::from_utf8_lossy(length.value).trim().parse().ok(), Some(body.len()));
    }
    Ok(())
}

fn read_form(text: &str) -> Result<Vec<OwnedPair>, String> {
    let owned = |pair: form::Pair<'_>| (pair.0.into_owned(), pair.1.into_owned());
    let pairs = form::pairs(text.as_bytes()).and_then(|mut pairs| {
        pairs.try_fold(Vec::new(), |mut all, pair| {
            all.push(owned(pair?));
            Ok(all)
        })
    });
    pairs.map_err(|error| error.cause().into_owned())
}

fn interesting_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => 0x20..0x7fu8,
        2 => prop::sample::select(b"<>&\"\\\n\r\t\x08\x0c\x00\x7f".to_vec()),
        3 => prop::sample::select(b"\xe2\x80\xa8\xa9\x98\x83\xc3\xed\xf0\x9f\xff".to_vec()),
        1 => any::<u8>(),
    ]
}

/// Go's encoder, one rune at a time.
fn reference_escape(text: &[u8]) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let rune = (1..=rest.len().min(4)).find_map(|len| str::from_utf8(&rest[..len]).ok()?.chars().next());
        rest = &rest[rune.map_or(1, char::len_utf8)..];
        match rune {
            None => out += "\\ufffd",
            Some('"') => out += "\\\"",
            Some('\\') => out += "\\\\",
            Some('\n') => out += "\\n",
            Some('\r') => out += "\\r",
            Some('\t') => out += "\\t",
            Some(c) if c < ' ' || "<>&\u{2028}\u{2029}".contains(c) => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("into memory");
            }
            Some(c) => out.push(c),
        }
    }
    out
}

type OwnedPair = (Vec<u8>, Vec<u8>);

/// Go's `url.ParseQuery`, pair by pair.
fn reference_form(text: &str) -> Result<Vec<OwnedPair>, String> {
    if text.contains(';') {
        return Err("invalid semicolon separator in query".into());
    }
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((reference_unescape(name)?, reference_unescape(value)?))
        })
        .collect()
}

fn reference_unescape(text: &str) -> Result<Vec<u8>, String> {
    let (mut out, mut bytes) = (Vec::new(), text.as_bytes());
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.ok_or_else(|| reference_complaint(&rest[..rest.len().min(2)]))?;
                out.push(u8::from_str_radix(&String::from_utf8_lossy(digits), 16).expect("hex digits"));
                bytes = &rest[2..];
            }
            other => out.push(*other),
        }
    }
    Ok(out)
}

/// Go's quoting, for the characters that the generated forms have.
fn reference_complaint(after_percent: &[u8]) -> String {
    let mut shown = String::from("invalid URL escape \"%");
    for chunk in after_percent.utf8_chunks() {
        shown += chunk.valid();
        for byte in chunk.invalid() {
            write!(shown, "\\x{byte:02x}").expect("into memory");
        }
    }
    shown + "\""
}
