//! What becomes of a request: an answer of the proxy's own, or a job for a member.
//!
//! The order is etcd's: a path that is not clean is redirected, `/metrics` is the proxy's own, a readonly proxy refuses,
//! `OPTIONS` is answered, `/v2/config/local/proxy` shows the endpoints, and everything else is sent on.

use net::http::reject::Reject;
use net::http::relay;
use net::http::request::{Body, Exchange, Method, Request, Version};
use net::http::response::{Head, Next, content_type};
use net::http::status::Status;
use net::keys_request::{self, Decoded, KeysRequest};
use net::router::{self, Route};
use net::target::{self, Redirect, Target};

use super::front::{Front, Trouble};
use crate::config::ProxyMode;
use crate::http::{Grant, allowed, grant, message_body};
use crate::listen::Side;
use crate::metrics::proxy::{Dropped, method};
use crate::page::{Kind, Page};

/// Proxies that a request may have passed, by its `X-Forwarded-For`: what has passed more goes round.
const HOPS_MAX: usize = 16;
/// Bytes of an `OPTIONS *` that Go looks at; after more it closes.
const OPTIONS_BODY_MAX: usize = 4 << 10;

/// What is to be done.
pub(super) enum Plan {
    Answer(Answer),
    Forward(Job),
}

/// The bytes of an answer of the proxy's own.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) next: Next,
    /// There may be bytes of the client's under way although it is closed.
    pub(super) lingers: bool,
}

/// A request to be sent on.
pub(super) struct Job {
    /// All of it, as it is sent.
    pub(super) request: Vec<u8>,
    pub(super) exchange: Exchange,
    /// As it is counted.
    pub(super) method: &'static str,
    /// Asking twice does no harm, so it may be sent again although a member may have got it.
    pub(super) is_safe: bool,
    /// It goes through consensus.
    pub(super) needs_leader: bool,
    /// It waits for events: it ends with its client, with its member, and with the process.
    pub(super) is_watch: bool,
    pub(super) cors: Grant,
}

/// Who asks.
pub(super) struct Asker {
    pub(super) side: Side,
    pub(super) address: Option<std::net::IpAddr>,
}

/// Whether the body of a request matters, whose head is there.
pub(super) fn reads_body(front: &Front, side: Side, request: &Request<'_>) -> bool {
    if request.path == b"*" {
        return request.method == Method::Options;
    }
    let clean = target::resolve(request.method, request.path, request.query);
    let Target::Clean(path) = clean else { return false };
    own(front, side, request.method, &path).is_none()
}

/// Decides. The request's body is there, or was not waited for.
pub(super) fn plan(front: &Front, asker: &Asker, request: &Request<'_>) -> Plan {
    if request.path == b"*" {
        return Plan::Answer(asterisk(front, request));
    }
    let path = match target::resolve(request.method, request.path, request.query) {
        Target::Clean(path) => path,
        Target::Redirect(redirect) => return Plan::Answer(moved(front, request, &redirect)),
        Target::Malformed => return Plan::Answer(rejected(front, Reject::Malformed)),
    };
    let cors = grant(&front.shared.config.cors, request.origin);
    if let Some(own) = own(front, asker.side, request.method, &path) {
        let cors = if own.has_cors() { cors } else { Grant::Nobody };
        let answer = answer(front, &page(front, request.method, own), request.exchange(), cors);
        return Plan::Answer(Answer { lingers: request.body.bytes().is_none(), ..answer });
    }
    match request.body {
        Body::Bytes(_) if hops(request) > HOPS_MAX => Plan::Answer(gone_round(front, request, cors)),
        Body::Bytes(body) => Plan::Forward(job(front, asker, request, &path, body)),
        Body::TooLarge | Body::Unread => {
            let text = "proxy: failed to read request body: http: request body too large";
            let answer = answer(front, &message(413, text), request.exchange().closing(), cors);
            Plan::Answer(Answer { lingers: true, ..answer })
        }
    }
}

/// What the proxy answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Metrics,
    NotFound,
    NotWhenReadonly,
    Options,
    Endpoints,
}

impl Own {
    /// The others stand outside of what etcd adds the headers to.
    fn has_cors(self) -> bool {
        matches!(self, Self::Options | Self::Endpoints)
    }
}

/// Whether the proxy answers a clean path itself; `None`: a member is asked.
fn own(front: &Front, side: Side, method: Method<'_>, path: &[u8]) -> Option<Own> {
    let is_readonly = front.shared.config.proxying.mode == ProxyMode::Readonly;
    match path {
        b"/metrics" => Some(Own::Metrics),
        // `CONNECT host:port` has no path; for scrapers there is nothing but their two pages.
        b"" => Some(Own::NotFound),
        _ if side == Side::Metrics && path != b"/health" => Some(Own::NotFound),
        _ if is_readonly && method != Method::Get => Some(Own::NotWhenReadonly),
        _ if method == Method::Options => Some(Own::Options),
        b"/v2/config/local/proxy" => Some(Own::Endpoints),
        _ => None,
    }
}

fn page(front: &Front, method: Method<'_>, own: Own) -> Page {
    match own {
        Own::Metrics => Page::new(200, Kind::Metrics, front.shared.metrics_page()),
        Own::NotFound => Page::not_found(),
        Own::NotWhenReadonly => Page::new(501, Kind::Nothing, Vec::new()),
        Own::Options => Page::new(200, Kind::Nothing, Vec::new()),
        Own::Endpoints if method == Method::Get => endpoints(front),
        Own::Endpoints => Page::method_not_allowed(Some("GET")),
    }
}

/// `/v2/config/local/proxy`: whom the proxy would ask now.
fn endpoints(front: &Front) -> Page {
    let available = front.shared.director.available();
    let texts: Vec<String> = available.iter().map(|endpoint| format!("\"{}\"", endpoint.url())).collect();
    Page::new(200, Kind::Sniffed, format!("{{\"endpoints\":[{}]}}\n", texts.join(",")).into_bytes())
}

fn job(front: &Front, asker: &Asker, request: &Request<'_>, path: &[u8], body: &[u8]) -> Job {
    let endpoints = front.endpoints();
    let host = endpoints.first().map_or("", |endpoint| endpoint.url().host_port());
    let mut bytes = Vec::new();
    relay::write_request(&mut bytes, request, body, asker.address, host);
    let decoded = match router::client(request.method, path) {
        Route::Keys(_) => keys_request::decode(request).ok().map(|Decoded { request, .. }| request),
        _ => None,
    };
    let is_safe = matches!(request.method, Method::Get | Method::Head);
    let is_quorum_read = matches!(decoded, Some(KeysRequest::Get { quorum: true, .. }));
    Job {
        request: bytes,
        exchange: request.exchange(),
        method: method(request.method),
        is_safe,
        needs_leader: !is_safe || is_quorum_read,
        is_watch: matches!(decoded, Some(KeysRequest::Watch { .. })),
        cors: grant(&front.shared.config.cors, request.origin),
    }
}

/// The proxies that a request has passed. Each names who has asked it.
fn hops(request: &Request<'_>) -> usize {
    let fields = request.lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        name.eq_ignore_ascii_case(b"x-forwarded-for").then_some(value)
    });
    fields.map(|value| value.split(|byte| *byte == b',').count()).sum()
}

/// A member advertises this proxy where that can not be seen, or another one that asks this one.
fn gone_round(front: &Front, request: &Request<'_>, cors: Grant) -> Answer {
    let text = "the request goes round: a member advertises the URL of a proxy";
    let method = method(request.method);
    front.count(|metrics| {
        metrics.request(method);
        metrics.dropped(method, Dropped::FailedGettingResponse);
    });
    front.tell(Trouble::GoesRound, || text.to_owned());
    answer(front, &message(502, &format!("proxy: {text}")), request.exchange(), cors)
}

/// `*` is the server as such. Go answers `OPTIONS` before etcd sees it, and has nothing else to say.
fn asterisk(front: &Front, request: &Request<'_>) -> Answer {
    let mut exchange = request.exchange();
    let (mut head, closes) = if request.method == Method::Options {
        let fits = request.body.bytes().is_some_and(|body| body.len() <= OPTIONS_BODY_MAX);
        (Head::new(Status::Ok).empty(), !fits)
    } else {
        (Head::new(Status::BadRequest), request.version == Version::Http11)
    };
    if closes {
        (head, exchange) = (head.closing(), exchange.closing());
    }
    let mut bytes = Vec::new();
    let next = head.write(&mut bytes, exchange, &front.date(), &[]);
    Answer { bytes, next, lingers: request.body.bytes().is_none() }
}

fn moved(front: &Front, request: &Request<'_>, redirect: &Redirect) -> Answer {
    let location = redirect.location();
    let mut head = Head::new(Status::MovedPermanently).location(&location);
    let mut body = Vec::new();
    if matches!(request.method, Method::Get | Method::Head) {
        head = head.content_type(content_type::HTML);
    }
    if request.method == Method::Get {
        redirect.write_body(&mut body);
    }
    let mut bytes = Vec::new();
    let next = head.write(&mut bytes, request.exchange(), &front.date(), &body);
    Answer { bytes, next, lingers: request.body.bytes().is_none() }
}

/// What came is no HTTP.
pub(super) fn rejected(front: &Front, reject: Reject) -> Answer {
    front.count(|metrics| metrics.malformed.inc());
    let mut bytes = Vec::new();
    reject.write(&mut bytes, &front.date());
    Answer { bytes, next: Next::Close, lingers: true }
}

/// `{"message":"…"}`.
pub(super) fn message(status: u16, text: &str) -> Page {
    Page::new(status, Kind::Json, message_body(text))
}

/// A page as it is sent.
pub(super) fn answer(front: &Front, page: &Page, exchange: Exchange, cors: Grant) -> Answer {
    let mut bytes = Vec::new();
    let head = page.head().cors(allowed(&front.shared.config.cors, cors));
    let next = head.write(&mut bytes, exchange, &front.date(), &page.body);
    Answer { bytes, next, lingers: false }
}
