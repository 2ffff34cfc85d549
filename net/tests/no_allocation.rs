//! The hot path does not touch the allocator: a read and a short write, from bytes to a decoded request and a written
//! answer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use net::http::date::DateStamp;
use net::http::request::{Decoder, Limits, Progress};
use net::http::response::{Head, Next};
use net::http::status::Status;
use net::json;
use net::keys_request::{self, KeysRequest};
use net::router::{self, Route};
use net::target::{self, Target};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const READ: &[u8] =
    b"GET /v2/keys/some/key?quorum=false&recursive=false&sorted=false HTTP/1.1\r\nHost: 127.0.0.1:2379\r\n\
    User-Agent: Go 1.1 package http\r\nAccept-Encoding: gzip\r\n\r\n";
const WRITE: &[u8] = b"PUT /v2/keys/some/key?prevIndex=7 HTTP/1.1\r\nHost: 127.0.0.1:2379\r\nContent-Length: 17\r\n\
    Content-Type: application/x-www-form-urlencoded\r\n\r\nvalue=hello&ttl=5";

/// One request and its answer; what was asked for, as far as it can be told without allocating.
fn serve(decoder: &mut Decoder, input: &[u8], body: &mut Vec<u8>, out: &mut Vec<u8>, date: &DateStamp) -> bool {
    let Ok(Progress::Complete { request, consumed }) = decoder.decode(input) else { return false };
    let Target::Clean(path) = target::resolve(request.method, request.path, request.query) else { return false };
    let Route::Keys(rest) = router::client(request.method, &path) else { return false };
    let Ok(parsed) = keys_request::decode(&request) else { return false };
    let value: &[u8] = match &parsed.request {
        KeysRequest::CompareAndSwap { value, ttl: Some(5), prev_index: 7, .. } => value,
        KeysRequest::Get { .. } => b"read",
        _ => return false,
    };
    body.clear();
    json::push_string(body, target::key(rest));
    json::push_string(body, value);
    json::push_time(body, 1_795_356_282_080_324_480);
    let head = Head::json(Status::Ok).cluster_id("ab8e2a87ae33bed8").etcd_index(4).raft(56, 2);
    consumed == input.len() && head.write(out, request.exchange(), date, body) == Next::KeepAlive
}

#[test]
fn a_read_and_a_write_do_not_allocate() {
    let mut decoder = Decoder::new(Limits::default());
    let (mut body, mut out) = (Vec::with_capacity(4096), Vec::with_capacity(65_536));
    let date = DateStamp::at(1_795_502_721);
    let mut serve_all = || [READ, WRITE, READ].map(|input| serve(&mut decoder, input, &mut body, &mut out, &date));
    // From the second request on, a connection has room for the field lines that it may see again.
    assert_eq!(serve_all(), [true; 3]);
    let before = ALLOCATIONS.get();
    let served = serve_all();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(served, [true; 3]);
}
