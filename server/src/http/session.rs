//! What a connection is in the middle of: its requests that wait for answers, or its watch.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use net::http::date::DateStamp;
use net::http::reject::Reject;
use net::http::request::{Body, Exchange, Method, Request, Version};
use net::http::response::{Head, Next, content_type};
use net::http::status::Status;
use net::keys_request;
use net::router::{self, PeerRoute, Route};
use net::target::{self, Redirect, Target};

use super::streaming::Stream;
use super::{admin, members, vars};
use crate::config::Cors;
use crate::core::bodies::When;
use crate::core::budget::{FREE_BYTES, Share};
use crate::core::lane::Lane;
use crate::core::message::{Answer, KeysAnswer};
use crate::core::{Core, Filled, SMALL_BYTES};
use crate::listen::Side;
use crate::metrics;
use crate::page::Page;

/// Requests in flight on one connection.
const IN_FLIGHT_MAX: usize = 64;
/// The same on a new one. Each small answer allows for one more, after a large one it begins with one again: an answer to a change may be much
/// larger than the request, and how large shows only when it is carried out.
const IN_FLIGHT_FIRST: usize = 4;
/// Bytes of an `OPTIONS *` that Go looks at; after more it closes.
const OPTIONS_BODY_MAX: usize = 4 << 10;
/// Bytes of answers after which they are sent before there are more, unless there is little room for them.
const OUT_HIGH_WATER: usize = 256 << 10;
/// Bytes of answers that an idle connection may keep allocated.
const OUT_KEPT: usize = 4 << 10;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handled {
    /// It is answered, or its answer will come.
    Taken,
    /// It must wait for the answers before it; ask again.
    Later,
}

/// See the module's description.
pub(super) struct Session {
    pub(super) core: Rc<Core>,
    side: Side,
    /// Answers that are to be sent.
    pub(super) out: Vec<u8>,
    /// A large event that is sent in between. Thousands may watch it: nobody has it for itself.
    pub(super) shared: Option<Shared>,
    /// What they hold of the executor's memory.
    out_share: Share,
    pub(super) lane: Rc<Lane<Filled>>,
    /// Requests that may be in flight.
    window: usize,
    /// The requests behind the lane's slots.
    pub(super) pending: VecDeque<Pending>,
    /// What these hold of the executor's memory.
    pub(super) waiting: Share,
    /// The executor to which the outstanding writes went.
    pub(super) writes_to: Option<usize>,
    /// The watch, or the backup, that has the connection for itself.
    pub(super) stream: Option<Box<Stream>>,
    course: Course,
    /// The client sends nothing more: a watch ends when it has nothing for it now.
    ending: bool,
    /// There may be bytes of the client's under way although it is closed.
    lingers: bool,
    /// When it was last looked at the clock: for what has arrived together, or is answered together, once.
    now: Instant,
}

/// An event among the answers to be sent: behind so many bytes of theirs.
pub(super) struct Shared {
    pub(super) at: usize,
    pub(super) body: Bytes,
    pub(super) when: When,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Course {
    /// With the next request.
    Open,
    /// Until the request taken last is answered: what follows it is no request, but may look like one.
    Last,
    /// Until everything is sent.
    Closed,
}

/// What must be known of a request when its answer comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) exchange: Exchange,
    pub(super) cors: Grant,
    /// Only the action of a success is answered.
    pub(super) no_value: bool,
    /// Under which name it is counted; none outside of the key space.
    pub(super) counted: Option<metrics::Method>,
    pub(super) begun: Instant,
    /// The memory that it holds while it waits.
    pub(super) held: usize,
}

/// Whom the CORS headers of an answer allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Nobody,
    Anybody,
    /// The origin at this position of the configured list.
    Listed(usize),
}

impl Session {
    pub(super) fn new(core: Rc<Core>, side: Side) -> Self {
        Self {
            waiting: Share::of(&core.budget.waiting, 0),
            out_share: Share::of(&core.budget.answers, 0),
            core,
            side,
            out: Vec::new(),
            shared: None,
            lane: Rc::new(Lane::new()),
            window: IN_FLIGHT_FIRST,
            pending: VecDeque::new(),
            writes_to: None,
            stream: None,
            course: Course::Open,
            ending: false,
            lingers: false,
            now: Instant::now(),
        }
    }

    /// Now is the time of what comes next. Reading the clock for each of many small requests would be a good part of their cost.
    pub(super) fn look_at_the_clock(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// When it was last looked at the clock.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// As of when it was last looked at the clock, in nanoseconds of the Unix epoch.
    pub(super) fn now_ns(&self) -> u64 {
        self.core.node.clock.ns_at(self.now)
    }

    /// Whether the next request may be looked at.
    pub(super) fn takes_requests(&self) -> bool {
        self.course == Course::Open && self.stream.is_none() && self.lane.outstanding() < self.window
    }

    /// Bytes of more input that are wanted, with `buffered` of them unused.
    pub(super) fn wants(&self, buffered: usize) -> usize {
        /// A client may send ahead this much while it waits for an answer.
        const AHEAD_MAX: usize = 64 << 10;
        if self.is_closed() {
            0
        } else if self.takes_requests() && self.is_idle() {
            usize::MAX
        } else {
            // A watch may be for ever, and what has come during it waits as long.
            let ahead = if self.is_watching() { FREE_BYTES } else { AHEAD_MAX };
            ahead.saturating_sub(buffered)
        }
    }

    /// Nothing is outstanding.
    pub(super) fn is_idle(&self) -> bool {
        self.stream.is_none() && self.lane.outstanding() == 0
    }

    /// The client waits for events, or is sent a backup.
    pub(super) fn is_watching(&self) -> bool {
        self.stream.is_some()
    }

    /// The connection is to be closed once everything is sent.
    pub(super) fn is_closed(&self) -> bool {
        self.course == Course::Closed
    }

    pub(super) fn lingers(&self) -> bool {
        self.lingers
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.lane.register(waker);
        if let Some(stream) = &self.stream {
            stream.register(waker);
        }
    }

    /// Whether an answer or an event is there.
    pub(super) fn has_news(&self) -> bool {
        self.lane.is_ready() || self.stream.as_ref().is_some_and(|stream| stream.is_ready())
    }

    /// Bytes that are to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() + self.shared_bytes()
    }

    /// What comes next of them, after so many.
    pub(super) fn next_unsent(&self, sent: usize) -> &[u8] {
        match &self.shared {
            Some(Shared { at, .. }) if sent < *at => &self.out[sent..*at],
            Some(Shared { at, body, .. }) if sent < at + body.len() => &body[sent - at..],
            Some(Shared { body, .. }) => &self.out[sent - body.len()..],
            None => &self.out[sent..],
        }
    }

    /// So many are sent; how many of what is left to be looked at. A large event is held no longer than that.
    pub(super) fn let_go(&mut self, sent: usize) -> usize {
        match &self.shared {
            Some(Shared { at, body, .. }) if sent >= at + body.len() => {
                let (at, behind) = (*at, sent - body.len());
                self.out.drain(..at);
                self.shared = None;
                behind - at
            }
            _ => sent,
        }
    }

    fn shared_bytes(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.body.len())
    }

    /// Bytes of answers after which they are sent before there are more.
    pub(super) fn high_water(&self) -> usize {
        if self.core.budget.answers.excess() > 0 { FREE_BYTES } else { OUT_HIGH_WATER }
    }

    /// Answers that are large count until they are sent.
    pub(super) fn count_out(&mut self) {
        let bytes = self.out.capacity();
        self.out_share.set(if bytes > FREE_BYTES { bytes } else { 0 });
    }

    /// All of it was sent.
    pub(super) fn sent(&mut self) {
        self.out.clear();
        if self.out_share.bytes() > 0 {
            self.out = Vec::new();
            self.out_share.set(0);
        }
    }

    /// Gives memory back before a sleep.
    pub(super) fn shrink(&mut self) {
        if self.out.capacity() > OUT_KEPT {
            self.out = Vec::new();
        }
    }

    /// The client sends nothing more.
    pub(super) fn input_ended(&mut self) {
        self.ending = true;
    }

    /// Whether the client has shut its side down.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// The input is no HTTP: says so and closes. All answers before it must be out.
    pub(super) fn reject(&mut self, reject: Reject) {
        self.core.count(|metrics| match reject {
            Reject::NoRoom => metrics.no_room.inc(),
            _ => metrics.malformed.inc(),
        });
        let date = self.date();
        reject.write(&mut self.out, &date);
        self.course = Course::Closed;
        self.lingers = true;
    }

    /// Whether anybody will look at the body of a request whose head is there. etcd answers the others without it.
    pub(super) fn reads_body(&self, request: &Request<'_>) -> bool {
        if request.path == b"*" {
            return request.method == Method::Options;
        }
        let (Side::Client, Target::Clean(path)) =
            (self.side, target::resolve(request.method, request.path, request.query))
        else {
            return false;
        };
        match router::client(request.method, &path) {
            Route::Keys(_) => keys_request::reads_body(request),
            Route::MemberAdd => members::is_json(request.content_type),
            Route::MemberUpdate(id) => members::is_id(id) && members::is_json(request.content_type),
            Route::LogLevel => true,
            _ => false,
        }
    }

    /// Hands out one request.
    pub(super) fn handle(&mut self, request: &Request<'_>) -> Handled {
        let handled = self.dispatch(request);
        if handled == Handled::Taken {
            if !request.keep_alive {
                self.course = self.course.max(Course::Last);
            }
            self.lingers |= request.body.bytes().is_none();
        }
        handled
    }

    fn dispatch(&mut self, request: &Request<'_>) -> Handled {
        if request.path == b"*" {
            return self.asterisk(request);
        }
        if request.method == Method::Options {
            return self.route(request, request.path);
        }
        match target::resolve(request.method, request.path, request.query) {
            Target::Clean(path) => self.route(request, &path),
            _ if !self.is_idle() => Handled::Later,
            Target::Redirect(redirect) => self.redirect(request, &redirect),
            Target::Malformed => {
                self.reject(Reject::Malformed);
                Handled::Taken
            }
        }
    }

    /// `*` is the server as such. Go answers `OPTIONS` before etcd sees it, and has nothing else to say.
    fn asterisk(&mut self, request: &Request<'_>) -> Handled {
        if !self.is_idle() {
            return Handled::Later;
        }
        let mut pending = self.pending_of(request, None);
        let (mut head, closes) = if request.method == Method::Options {
            pending.cors = Grant::Nobody;
            let fits = request.body.bytes().is_some_and(|body| body.len() <= OPTIONS_BODY_MAX);
            (Head::new(Status::Ok).empty(), !fits)
        } else {
            (Head::new(Status::BadRequest), request.version == Version::Http11)
        };
        if closes {
            (head, pending.exchange) = (head.closing(), pending.exchange.closing());
        }
        self.write(&pending, head, &[]);
        Handled::Taken
    }

    fn route(&mut self, request: &Request<'_>, path: &[u8]) -> Handled {
        match self.side {
            Side::Client => self.client(request, router::client(request.method, path)),
            Side::Metrics => match router::client(request.method, path) {
                route @ (Route::Metrics | Route::Health) => self.client(request, route),
                _ => self.page(request, &Page::not_found()),
            },
            Side::Peer => self.peer(request, router::peer(request.method, path)),
        }
    }

    fn client(&mut self, request: &Request<'_>, route: Route<'_>) -> Handled {
        if let Route::Keys(rest) = route {
            return self.keys(request, target::key(rest));
        }
        if !self.is_idle() {
            return Handled::Later;
        }
        let core = Rc::clone(&self.core);
        let body = request.body.bytes().unwrap_or_default();
        match route {
            Route::Keys(_) => Handled::Later,
            Route::Options => self.page(request, &admin::options()),
            Route::Members => self.page(request, &members::list(&core.node.presumed_system())),
            Route::MemberLeader => self.page(request, &members::leader(&core)),
            Route::MemberUnknown => self.page(request, &Page::message(404, "Not found")),
            Route::MemberAdd | Route::MemberUpdate(_) | Route::LogLevel if request.body == Body::TooLarge => {
                self.page(request, &Page::message(413, "http: request body too large"))
            }
            Route::MemberAdd => self.change(request, members::add(&core, request.content_type, body)),
            Route::MemberUpdate(id) => self.change(request, members::update(&core, id, request.content_type, body)),
            Route::MemberRemove(id) => self.change(request, members::remove(&core, id)),
            Route::MemberIdMissing => {
                self.page(request, &Page { cluster_id: true, ..Page::method_not_allowed(Some("GET,POST")) })
            }
            Route::Backup => self.back_up(request),
            Route::Machines => self.page(request, &admin::machines(&core)),
            Route::StatsStore => self.later(request, async move { admin::store_stats(&core).await }),
            Route::StatsSelf => self.later(request, async move { admin::own_stats(&core).await }),
            Route::StatsLeader => self.later(request, async move { admin::leader_stats(&core).await }),
            Route::AuthEnable if request.method == Method::Get => self.page(request, &admin::auth_disabled()),
            Route::Users | Route::User(_) | Route::Roles | Route::Role(_) | Route::AuthEnable => {
                self.page(request, &admin::no_auth())
            }
            Route::AuthInvalidPath => self.page(request, &admin::auth_invalid_path()),
            Route::Version => self.page(request, &admin::version(&core)),
            Route::Health => self.later(request, async move { admin::health(&core).await }),
            Route::Metrics => self.later(request, async move { admin::metrics(&core).await }),
            Route::DebugVars => self.later(request, async move { vars::page(&core).await }),
            Route::LogLevel => self.page(request, &admin::log_level(body)),
            Route::Pprof(_) | Route::NotFound => self.page(request, &Page::not_found()),
            Route::MethodNotAllowed(allow) => self.page(request, &Page::method_not_allowed(Some(allow))),
        }
    }

    fn change(&mut self, request: &Request<'_>, decision: members::Decision) -> Handled {
        let core = Rc::clone(&self.core);
        match decision {
            members::Decision::Page(page) => self.page(request, &page),
            members::Decision::Change(command, done) => {
                self.later(request, async move { members::change(&core, command, done).await })
            }
        }
    }

    fn peer(&mut self, request: &Request<'_>, route: PeerRoute) -> Handled {
        if !self.is_idle() {
            return Handled::Later;
        }
        let core = Rc::clone(&self.core);
        match route {
            PeerRoute::Members => self.page(request, &admin::peer_members(&core)),
            PeerRoute::Version => self.page(request, &admin::peer_version(&core)),
            PeerRoute::Probing => self.page(request, &admin::probing(&core)),
            PeerRoute::ForeignRaft => self.page(request, &admin::foreign_raft()),
            PeerRoute::StreamRoot => self.redirect(request, &Redirect::to(b"/raft/stream/", request.query)),
            PeerRoute::MethodNotAllowed(allow) => self.page(request, &Page::method_not_allowed(Some(allow))),
            PeerRoute::NotFound => self.page(request, &Page::not_found()),
        }
    }

    /// Answers at once.
    fn page(&mut self, request: &Request<'_>, page: &Page) -> Handled {
        if !self.is_idle() {
            return Handled::Later;
        }
        let pending = self.pending_of(request, None);
        self.respond_page(&pending, page);
        Handled::Taken
    }

    /// Answers when the page is made.
    fn later(&mut self, request: &Request<'_>, page: impl Future<Output = Page> + 'static) -> Handled {
        let pending = self.pending_of(request, None);
        let slot = self.await_answer(pending);
        let (core, lane) = (Rc::clone(&self.core), Rc::clone(&self.lane));
        glommio::spawn_local(async move {
            let answer = Answer::Page(page.await);
            lane.fill(slot, Filled::new(answer, &core.budget));
        })
        .detach();
        Handled::Taken
    }

    fn redirect(&mut self, request: &Request<'_>, redirect: &Redirect) -> Handled {
        let pending = self.pending_of(request, None);
        let mut body = Vec::new();
        let mut head = Head::new(Status::MovedPermanently);
        let location = redirect.location();
        head = head.location(&location);
        if matches!(request.method, Method::Get | Method::Head) {
            head = head.content_type(content_type::HTML);
        }
        if request.method == Method::Get {
            redirect.write_body(&mut body);
        }
        self.write(&pending, head, &body);
        Handled::Taken
    }

    /// What must be remembered of a request.
    pub(super) fn pending_of(&self, request: &Request<'_>, counted: Option<metrics::Method>) -> Pending {
        let cors =
            if self.side == Side::Client { grant(&self.core.node.config.cors, request.origin) } else { Grant::Nobody };
        Pending { exchange: request.exchange(), cors, no_value: false, counted, begun: self.now, held: 0 }
    }

    /// Takes a slot for the answer to a request.
    pub(super) fn await_answer(&mut self, pending: Pending) -> u64 {
        self.waiting.add(pending.held);
        self.pending.push_back(pending);
        self.lane.reserve()
    }

    /// Writes the answers that have come, in the order of their requests.
    pub(super) fn take_answers(&mut self) {
        if self.has_news() || self.stream.is_some() {
            self.look_at_the_clock();
        }
        while self.out.len() < self.high_water()
            && let Some(filled) = self.lane.pop()
        {
            let (answer, held) = filled.into_parts();
            let Some(pending) = self.pending.pop_front() else { panic!("an answer without its request") };
            self.waiting.give_back(pending.held);
            match answer {
                Answer::Keys(answer) => {
                    let is_small = answer.body.len() <= SMALL_BYTES;
                    self.window = if is_small { IN_FLIGHT_MAX.min(self.window + 1) } else { 1 };
                    self.respond_keys(&pending, &answer);
                }
                Answer::Page(page) => self.respond_page(&pending, &page),
                other => panic!("a request was answered with {other:?}"),
            }
            self.count_out();
            drop(held);
        }
        if self.lane.outstanding() == 0 {
            self.writes_to = None;
        }
        if let Some(mut stream) = self.stream.take()
            && !self.pump(&mut stream)
        {
            self.stream = Some(stream);
        }
    }

    /// Answers a request on the key space.
    pub(super) fn respond_keys(&mut self, pending: &Pending, answer: &KeysAnswer) {
        let status = Status::from_code(answer.status).unwrap_or(Status::InternalServerError);
        let core = Rc::clone(&self.core);
        let mut head = Head::json(status).cluster_id(&core.node.cluster_id).etcd_index(answer.index.0);
        if let Some((index, term)) = answer.raft {
            head = head.raft(index.0, term.0);
        }
        if pending.no_value && answer.status < 300 {
            self.write(pending, head, &action_only(&answer.body));
        } else {
            self.write(pending, head, &answer.body);
        }
        self.count(pending, answer.status);
    }

    pub(super) fn count(&self, pending: &Pending, status: u16) {
        let Some(method) = pending.counted else { return };
        self.core.count(|metrics| {
            metrics.requests[method].inc();
            let took = self.now.saturating_duration_since(pending.begun);
            if method.is_write() {
                metrics.proposals.observe(took);
            }
            if status < 300 {
                metrics.latency[method].observe(took);
            } else {
                metrics.failures.inc(method, status);
            }
        });
    }

    pub(super) fn respond_page(&mut self, pending: &Pending, page: &Page) {
        let core = Rc::clone(&self.core);
        let mut head = page.head();
        if page.cluster_id {
            head = head.cluster_id(&core.node.cluster_id);
        }
        self.write(pending, head, &page.body);
    }

    /// Writes an answer; the connection is closed after it if either side wants that.
    fn write(&mut self, pending: &Pending, head: Head<'_>, body: &[u8]) {
        let core = Rc::clone(&self.core);
        let head = head.cors(allowed(&core.node.config.cors, pending.cors));
        let date = self.date();
        if head.write(&mut self.out, pending.exchange, &date, body) == Next::Close {
            self.course = Course::Closed;
        }
    }

    /// The second in which it was last looked at the clock.
    pub(super) fn date(&self) -> DateStamp {
        self.core.date(self.now_ns())
    }

    /// After a stream: goes on with requests, or not.
    pub(super) fn after_stream(&mut self, next: Next) {
        if next == Next::Close {
            self.course = Course::Closed;
        }
    }
}

/// Whom the answer to a request from this origin allows.
pub(crate) fn grant(cors: &Cors, origin: Option<&[u8]>) -> Grant {
    match cors {
        Cors::Off => Grant::Nobody,
        Cors::Any => Grant::Anybody,
        Cors::Origins(listed) => {
            let found = origin.and_then(|origin| listed.iter().position(|listed| listed.as_bytes() == origin));
            found.map_or(Grant::Nobody, Grant::Listed)
        }
    }
}

/// The origin that a grant allows.
pub(crate) fn allowed(cors: &Cors, grant: Grant) -> Option<&[u8]> {
    match (grant, cors) {
        (Grant::Anybody, _) => Some(b"*"),
        (Grant::Listed(at), Cors::Origins(listed)) => listed.get(at).map(String::as_bytes),
        _ => None,
    }
}

/// `{"action":"set"}` of a whole answer, as etcd 3.4 has it for `noValueOnSuccess`.
fn action_only(body: &[u8]) -> Vec<u8> {
    let end = body.iter().position(|byte| *byte == b',').unwrap_or(body.len());
    let mut short = body[..end].to_vec();
    short.extend_from_slice(b"}\n");
    short
}
