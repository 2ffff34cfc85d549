//! The key space: from a decoded request to a command, a read or a watch.

use std::borrow::Cow;
use std::rc::Rc;

use net::http::request::{Method, Request};
use net::http::response::Head;
use net::http::status::Status;
use net::keys_request::{self, Decoded, FieldError, KeysRequest};
use shard::command::Command;
use shard::ids::{Index, ShardId};
use shard::refusal::{Code, Refusal};
use shard::route::{Route, route_in_order};

use super::session::{Handled, Pending, Session};
use super::streaming::Stream;
use super::watching::Watch;
use crate::body;
use crate::core::message::{Answer, Get, Standing, WatchRequest};
use crate::core::{self, Core, Encoding, Filled};
use crate::metrics;

impl Session {
    /// A request on the key `key`.
    pub(super) fn keys(&mut self, request: &Request<'_>, key: &[u8]) -> Handled {
        let decoded = match keys_request::decode(request) {
            Ok(decoded) => decoded,
            Err(error) => return self.refuse_fields(request, &error),
        };
        match decoded.request {
            KeysRequest::Get { recursive, quorum, .. } => self.read(request, key, recursive, quorum),
            KeysRequest::Watch { recursive, stream, wait_index } => {
                self.watch(request, key, recursive, stream, Index(wait_index))
            }
            _ => self.write_key(request, key, decoded),
        }
    }

    fn refuse_fields(&mut self, request: &Request<'_>, error: &FieldError) -> Handled {
        let code = Code::ALL.into_iter().find(|code| code.number() == error.code);
        let refusal = Refusal::new(code.unwrap_or(Code::InvalidField), error.cause.as_bytes());
        self.refuse(request, &refusal)
    }

    /// Refuses without having looked at any state.
    fn refuse(&mut self, request: &Request<'_>, refusal: &Refusal) -> Handled {
        if !self.is_idle() {
            return Handled::Later;
        }
        let pending = self.pending_of(request, None);
        self.respond_keys(&pending, &core::refused(refusal, Index::ZERO));
        Handled::Taken
    }

    fn overloaded(&mut self, request: &Request<'_>) -> Handled {
        self.core.count(|metrics| metrics.no_room.inc());
        self.refuse(request, &overloaded())
    }

    /// A change. Those that were pipelined go out together, as long as one executor numbers them: so their order in the
    /// one order is that of the requests.
    fn write_key(&mut self, request: &Request<'_>, key: &[u8], decoded: Decoded<'_>) -> Handled {
        let core = Rc::clone(&self.core);
        let shard = match &decoded.request {
            KeysRequest::Create { in_order: true, .. } => route_in_order(key, core.node.shards),
            _ => any_shard(core.node.route(key)),
        };
        let executor = core.node.core_of(shard);
        let follows = self.lane.outstanding() > 0 && self.writes_to == Some(executor);
        if !self.is_idle() && !follows {
            return Handled::Later;
        }
        let no_value = decoded.no_value_on_success && !matches!(request.method, Method::Delete);
        let size = key.len() + decoded.request.value_bytes();
        let Some(held) = core.room_for(size, self.is_idle()) else {
            return if follows { Handled::Later } else { self.overloaded(request) };
        };
        let command = command(key, decoded.request);
        let pending = Pending { no_value, held, ..self.pending_of(request, counted(request.method, false)) };
        let slot = self.await_answer(pending);
        self.writes_to = Some(executor);
        core.propose(shard, command, &self.lane, slot);
        Handled::Taken
    }

    fn read(&mut self, request: &Request<'_>, key: &[u8], recursive: bool, quorum: bool) -> Handled {
        if !self.is_idle() {
            return Handled::Later;
        }
        let core = Rc::clone(&self.core);
        let pending = self.pending_of(request, counted(request.method, quorum));
        let Route::Shard(shard) = core.node.route(key) else {
            return self.read_spread(pending, recursive, quorum);
        };
        if !quorum && core.node.core_of(shard) == core.me {
            self.read_own(pending, shard, key, recursive);
            return Handled::Taken;
        }
        let Some(held) = core.room_for(key.len(), true) else { return self.overloaded(request) };
        let slot = self.await_answer(Pending { held, ..pending });
        core.ask_get(Get { shard, path: key.to_vec(), recursive, quorum }, &self.lane, slot);
        Handled::Taken
    }

    /// Answers a read of a node of this executor's: a file without any detour, a directory in slices.
    fn read_own(&mut self, pending: Pending, shard: ShardId, key: &[u8], recursive: bool) {
        let core = Rc::clone(&self.core);
        let now = self.now_ns();
        let found = match core.get(shard, key, recursive) {
            Ok(found) => found,
            Err((refusal, index)) => return self.respond_keys(&pending, &core::refused(&refusal, index)),
        };
        if found.node.is_dir() {
            let (slot, lane, key) = (self.await_answer(pending), Rc::clone(&self.lane), key.to_vec());
            let listing = async move {
                let mut encoding = Encoding::begin(&core, core.me);
                let body = body::directory(&found.node, &key, now, recursive, &mut encoding).await;
                drop(encoding);
                let answer = body.map_or_else(core::no_room, |body| Answer::Keys(core::shown(found.standing, body)));
                lane.fill(slot, Filled::new(answer, &core.budget));
            };
            glommio::spawn_local(listing).detach();
            return;
        }
        if !core.has_room_for_answer(found.node.value_bytes().unwrap_or(0)) {
            core.count(|metrics| metrics.no_room.inc());
            return self.respond_keys(&pending, &core::refused(&overloaded(), found.standing.index));
        }
        let mut body = core.scratch_body();
        body::file(&found.node, key, now, &mut body);
        let answer = core::shown(found.standing, body);
        self.look_at_the_clock();
        self.respond_keys(&pending, &answer);
        core.return_scratch_body(answer.body);
    }

    /// A read of the root: a cut through all executors.
    fn read_spread(&mut self, pending: Pending, recursive: bool, quorum: bool) -> Handled {
        let slot = self.await_answer(pending);
        let (core, lane) = (Rc::clone(&self.core), Rc::clone(&self.lane));
        let listing = async move {
            let answer = list_root(&core, recursive, quorum).await;
            lane.fill(slot, Filled::new(answer, &core.budget));
        };
        glommio::spawn_local(listing).detach();
        Handled::Taken
    }

    fn watch(&mut self, request: &Request<'_>, key: &[u8], recursive: bool, stream: bool, since: Index) -> Handled {
        if !self.is_idle() {
            return Handled::Later;
        }
        let core = Rc::clone(&self.core);
        let shard = match core.node.route(key) {
            Route::Shard(shard) => Some(shard),
            Route::Spread if recursive => None,
            // Nothing ever happens to the root itself.
            Route::Spread => Some(ShardId(0)),
        };
        let pending = self.pending_of(request, None);
        let request_to = WatchRequest { shard, path: key.to_vec(), recursive, stream, since };
        match core.watch(request_to) {
            Some(watching) => {
                self.stream = Some(Box::new(Stream::Watch(Watch::new(watching, pending, stream))));
                Handled::Taken
            }
            None => self.overloaded(request),
        }
    }
}

/// For who asks for more than there is room for.
fn overloaded() -> Refusal {
    Refusal::new(Code::RaftInternal, core::OVERLOADED)
}

async fn list_root(core: &Rc<Core>, recursive: bool, quorum: bool) -> Answer {
    if quorum && core.confirm_quorum(core.node.config.request_timeout()).await.is_none() {
        return core::raft_error("etcdserver: request timed out");
    }
    match core.list_root(recursive).await {
        Some((standing, body)) => Answer::Keys(core::shown(standing, body)),
        None => core::no_room(),
    }
}

/// The shard of a path, where any will do for a spread directory: it refuses what it is asked for all the same.
fn any_shard(route: Route) -> ShardId {
    match route {
        Route::Shard(shard) => shard,
        Route::Spread => ShardId(0),
    }
}

/// Under which name etcd counts a request.
fn counted(method: Method<'_>, quorum: bool) -> Option<metrics::Method> {
    match method {
        Method::Get if quorum => Some(metrics::Method::QGet),
        Method::Get => Some(metrics::Method::Get),
        Method::Head => Some(metrics::Method::Head),
        Method::Put => Some(metrics::Method::Put),
        Method::Post => Some(metrics::Method::Post),
        Method::Delete => Some(metrics::Method::Delete),
        _ => None,
    }
}

fn command(key: &[u8], request: KeysRequest<'_>) -> Command {
    let path = key.to_vec();
    match request {
        KeysRequest::Set { value, dir, ttl, refresh } => {
            Command::Set { path, value: value.into_owned(), dir, ttl, refresh }
        }
        KeysRequest::Create { value, dir, ttl, in_order } => {
            Command::Create { path, value: value.into_owned(), dir, ttl, in_order }
        }
        KeysRequest::Update { value, ttl, refresh } => {
            Command::Update { path, value: value.into_owned(), ttl, refresh }
        }
        KeysRequest::CompareAndSwap { value, ttl, refresh, prev_value, prev_index } => Command::CompareAndSwap {
            path,
            value: value.into_owned(),
            ttl,
            refresh,
            prev_value: prev_value.map(Cow::into_owned),
            prev_index,
        },
        KeysRequest::Delete { dir, recursive } => Command::Delete { path, dir, recursive },
        KeysRequest::CompareAndDelete { prev_value, prev_index } => {
            Command::CompareAndDelete { path, prev_value: prev_value.map(Cow::into_owned), prev_index }
        }
        KeysRequest::Get { .. } | KeysRequest::Watch { .. } => panic!("a read is no command"),
    }
}

/// The head of a watch's answer.
pub(super) fn watch_head<'a>(cluster_id: &'a str, standing: &Standing) -> Head<'a> {
    Head::json(Status::Ok)
        .cluster_id(cluster_id)
        .etcd_index(standing.index.0)
        .raft(standing.raft_index.0, standing.term.0)
}
