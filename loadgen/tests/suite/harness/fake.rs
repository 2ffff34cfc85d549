//! A v2 server of a few lines that can be told to answer wrongly. It knows GET, PUT and POST of files.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// The right one.
    Right,
    /// Another value.
    WrongValue,
    /// An index below those before.
    IndexBack,
    /// The same index as the write before.
    IndexStays,
    /// 500.
    Error,
    /// None, and the connection stays open.
    Silence,
    /// None, and the connection is closed.
    Close,
    /// The first half, and the connection is closed.
    Half,
    /// The right one, but all of the server stands still for so long before.
    Stall(Duration),
    /// Not HTTP.
    Garbage,
}

/// Decides what becomes of the n-th answer, counted over all connections from 1.
type Decide = dyn Fn(u64) -> Reply + Send + Sync;

#[derive(Default)]
struct State {
    requests: u64,
    index: u64,
    values: HashMap<String, String>,
}

/// The server; it lives as long as the test's process.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    decide: Arc<Decide>,
}

struct Request {
    method: String,
    key: String,
    value: String,
}

impl Fake {
    /// Serves; the address.
    pub(crate) fn serve(decide: impl Fn(u64) -> Reply + Send + Sync + 'static) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("bound");
        let fake = Self { state: Arc::default(), decide: Arc::new(decide) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let fake = fake.clone();
                // A client that goes away is its own affair.
                thread::spawn(move || drop(fake.converse(stream)));
            }
        });
        address
    }

    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        while let Some(request) = read_request(&mut input)? {
            let (answer, is_last) = self.answer(&request);
            out.write_all(answer.as_bytes())?;
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The answer's bytes, and whether the connection ends with it.
    fn answer(&self, request: &Request) -> (String, bool) {
        let mut state = self.state.lock().expect("no thread panics with it");
        state.requests += 1;
        let reply = (self.decide)(state.requests);
        if let Reply::Stall(time) = reply {
            thread::sleep(time);
        }
        let known = state.values.get(&request.key).cloned();
        let (mut status, mut value) = (200, known.unwrap_or_default());
        if request.method != "GET" {
            status = if state.values.contains_key(&request.key) { 200 } else { 201 };
            state.index += u64::from(!matches!(reply, Reply::IndexStays));
            value.clone_from(&request.value);
            state.values.insert(request.key.clone(), value.clone());
        }
        let mut index = state.index;
        match reply {
            Reply::WrongValue => "wrong".clone_into(&mut value),
            Reply::IndexBack => index = 1,
            Reply::Error => status = 500,
            Reply::Silence => return (String::new(), false),
            Reply::Close => return (String::new(), true),
            Reply::Garbage => return ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), false),
            Reply::Right | Reply::IndexStays | Reply::Half | Reply::Stall(_) => {}
        }
        let key = &request.key;
        let body = format!(
            r#"{{"action":"set","node":{{"key":"{key}","value":"{value}","modifiedIndex":{index},"createdIndex":{index}}}}}"#
        );
        let length = body.len();
        let mut text =
            format!("HTTP/1.1 {status} X\r\nX-Etcd-Index: {index}\r\nContent-Length: {length}\r\n\r\n{body}");
        if matches!(reply, Reply::Half) {
            text.truncate(text.len() / 2);
            return (text, true);
        }
        (text, false)
    }
}

fn read_request(input: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let key = target.trim_start_matches("/v2/keys").split('?').next().unwrap_or("").to_owned();
    let (method, mut length) = (method.to_owned(), 0);
    loop {
        let mut field = String::new();
        input.read_line(&mut field)?;
        if field.trim_end().is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("Content-Length: ") {
            length = value.trim_end().parse().map_err(io::Error::other)?;
        }
    }
    let mut form = vec![0; length];
    input.read_exact(&mut form)?;
    let form = String::from_utf8_lossy(&form).into_owned();
    let value = form.split('&').find_map(|pair| pair.strip_prefix("value=")).unwrap_or("").to_owned();
    Ok(Some(Request { method, key, value }))
}
