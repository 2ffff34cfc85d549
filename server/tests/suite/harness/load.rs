//! Many writes in little time: many connections, each with a window of requests under way.

use std::thread;

use super::http::encode;
use super::{Connection, Server};

/// Connections of a load. Many: requests for different executors wait for each other along one.
const CONNECTIONS: u64 = 64;
/// Requests sent before their answers are read.
const WINDOW: usize = 16;

/// PUTs `count` keys, the n-th as `request(n)` gives it: key and form. All must succeed; the index of each.
pub(crate) fn load(server: &Server, count: u64, request: impl Fn(u64) -> (String, String) + Sync) -> Vec<u64> {
    let mut indices = vec![0; count as usize];
    let parts = thread::scope(|scope| {
        let put = &request;
        let handles: Vec<_> = (0..CONNECTIONS.min(count))
            .map(|first| scope.spawn(move || put_in_windows(server, (first..count).step_by(CONNECTIONS as usize), put)))
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("a loader finishes")).collect::<Vec<_>>()
    });
    for (n, index) in parts.into_iter().flatten() {
        indices[n as usize] = index;
    }
    indices
}

fn put_in_windows(
    server: &Server,
    numbers: impl Iterator<Item = u64>,
    request: &impl Fn(u64) -> (String, String),
) -> Vec<(u64, u64)> {
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    let numbers: Vec<u64> = numbers.collect();
    let mut done = Vec::with_capacity(numbers.len());
    for window in numbers.chunks(WINDOW) {
        let put = |n: &u64| {
            let (key, form) = request(*n);
            encode("PUT", &format!("/v2/keys{key}"), Some(&form))
        };
        connection.send(window.iter().map(put).collect::<String>().as_bytes()).expect("the server reads");
        for n in window {
            let answer = connection.response("PUT").expect("the server answers");
            assert!(answer.status < 300, "write {n}: {answer:?}");
            done.push((*n, answer.index()));
        }
    }
    done
}
