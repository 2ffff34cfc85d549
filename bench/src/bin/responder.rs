//! The bare responder: one thread of glommio that parses requests with httparse and gives every one the same answer, that of
//! an etcd to `GET /v2/keys/lg-d0/k0` after `uetcd-loadgen` has written it. What it does per request is the least that a
//! server on glommio can do; what drives it faster than it answers is no bottleneck.
//!
//!     bare-responder 127.0.0.1:2379 [CPU]

#[path = "../../../server/src/ring.rs"]
mod ring;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::Placement;
use glommio::net::{TcpListener, TcpStream};

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
        eprintln!("usage: bare-responder ADDRESS:PORT [CPU]");
        return ExitCode::from(2);
    };
    let placement = cpu.and_then(Result::ok).map_or(Placement::Unbound, Placement::Fixed);
    let work = move || async move { accept(address).await };
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

async fn accept(address: SocketAddr) -> Result<std::convert::Infallible, glommio::GlommioError<()>> {
    let listener = TcpListener::bind(address)?;
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away is no error.
        glommio::spawn_local(async move { drop(serve(stream).await) }).detach();
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
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
        input.copy_within(consumed..filled, 0);
        filled -= consumed;
        stream.write_all(&out).await?;
        out.clear();
    }
}

/// The length of the request at the start of `input`, if it is there as a whole. Requests have no bodies here.
fn request(input: &[u8]) -> io::Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let parsed = httparse::Request::new(&mut fields).parse(input).map_err(io::Error::other)?;
    Ok(match parsed {
        httparse::Status::Complete(length) => Some(length),
        httparse::Status::Partial => None,
    })
}
