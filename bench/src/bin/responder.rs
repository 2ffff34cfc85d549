//! The bare responder: one thread of glommio that parses requests with httparse and gives every one the same answer, that of
//! an etcd to `GET /v2/keys/lg-d0/k0` after `uetcd-loadgen` has written it. What it does per request is the least that a
//! server on glommio can do; what drives it faster than it answers is no bottleneck.
//!
//!     bare-responder 127.0.0.1:2379 [CPU [FILE]]
//!
//! With a file it is the least that a server can do that says of a write that it is durable: what a request is, bytes of HTTP, is in the file, on
//! the disk, before it is answered. All requests that have come meanwhile share a write, and two are under way at most, as in uetcd's log. It
//! keeps no keys, checks nothing, and could not find in the file what it needs after a crash.

#[path = "../../../server/src/ring.rs"]
mod ring;
#[path = "responder/shared_writes.rs"]
mod shared_writes;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::Placement;
use glommio::net::{TcpListener, TcpStream};

use shared_writes::SharedWrites;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Cluster-Id: 7e27652122e8b2ae\r\n\
X-Etcd-Index: 4\r\nX-Raft-Index: 5\r\nX-Raft-Term: 2\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 154\r\n\r\n\
{\"action\":\"get\",\"node\":{\"key\":\"/lg-d0/k0\",\
\"value\":\"7fd8d567026ac4ea7fd8d567026ac4ea7fd8d567026ac4ea7fd8d567026ac4ea\",\
\"modifiedIndex\":4,\"createdIndex\":4}}\n";

/// Fields of a request that are parsed.
const FIELDS_MAX: usize = 32;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().and_then(|text| text.parse::<SocketAddr>().ok());
    let cpu = arguments.next().map(|text| text.parse::<usize>());
    let (Some(address), None | Some(Ok(_))) = (address, &cpu) else {
        eprintln!("usage: bare-responder ADDRESS:PORT [CPU [FILE]]");
        return ExitCode::from(2);
    };
    let placement = cpu.and_then(Result::ok).map_or(Placement::Unbound, Placement::Fixed);
    let file = arguments.next().map(PathBuf::from);
    let work = move || async move { accept(address, file).await };
    let failure = match ring::launch("responder".to_owned(), placement, Duration::ZERO, work) {
        Ok(thread) => match thread.join() {
            Ok(Some(Ok(never))) => match never {},
            Ok(Some(Err(error))) => error.to_string(),
            Ok(None) | Err(_) => "it panicked".to_owned(),
        },
        Err(error) => error,
    };
    eprintln!("bare-responder: {failure}");
    ExitCode::FAILURE
}

async fn accept(
    address: SocketAddr,
    file: Option<PathBuf>,
) -> Result<std::convert::Infallible, glommio::GlommioError<()>> {
    let writes = match file {
        Some(path) => Some(SharedWrites::to(&path).await?),
        None => None,
    };
    let listener = TcpListener::bind(address)?;
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away is no error.
        let writes = writes.clone();
        glommio::spawn_local(async move { drop(serve(stream, writes).await) }).detach();
    }
}

async fn serve(mut stream: TcpStream, writes: Option<Rc<SharedWrites>>) -> io::Result<()> {
    let (mut input, mut out, mut filled) = (vec![0; 64 << 10], Vec::new(), 0);
    loop {
        let read = stream.read(&mut input[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut consumed = 0;
        while let Some(length) = request(&input[consumed..filled])? {
            consumed += length;
            out.extend_from_slice(ANSWER.as_bytes());
        }
        if let Some(writes) = &writes
            && consumed > 0
        {
            writes.keep(&input[..consumed]).await;
        }
        input.copy_within(consumed..filled, 0);
        filled -= consumed;
        stream.write_all(&out).await?;
        out.clear();
    }
}

/// The length of the request at the start of `input`, if it is there as a whole.
fn request(input: &[u8]) -> io::Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(input).map_err(io::Error::other)? else { return Ok(None) };
    let length = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.map(|field| std::str::from_utf8(field.value).ok().and_then(|text| text.parse::<usize>().ok()));
    let body = length.map_or(Some(0), |length| length).ok_or_else(|| io::Error::other("what length?"))?;
    Ok(Some(head + body).filter(|whole| *whole <= input.len()))
}
