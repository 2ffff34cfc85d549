//! A blocking HTTP/1.1 client on a plain socket that shows exactly what came back: header spelling and order, framing, chunks, and whether the
//! connection was closed. It checks framing strictly, so a server that miscounts fails here.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// One answer as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status line without its line end.
    pub(crate) status_line: String,
    /// The number in the status line.
    pub(crate) status: u16,
    /// Names and values in the order and spelling of the wire.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header, its name compared exactly: etcd's spelling is part of the contract.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// `X-Etcd-Index`, 0 when there is none.
    pub(crate) fn index(&self) -> u64 {
        self.header("X-Etcd-Index").map_or(0, |text| text.parse().expect("X-Etcd-Index is a number"))
    }

    /// The body as text, for messages and comparisons.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The header names in wire order.
    pub(crate) fn header_names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// One connection. All reads are bounded by [`PATIENCE`] unless another limit was set.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects; small writes leave at once.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Longest wait of one read.
    pub(crate) fn set_patience(&mut self, limit: Duration) {
        self.socket().set_read_timeout(Some(limit)).expect("a read timeout above zero is always accepted");
    }

    /// The socket below, for half-closing and the like.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request with `Host` and, for a form, its type and length.
    pub(crate) fn request(&mut self, method: &str, target: &str, form: Option<&str>) -> io::Result<()> {
        self.send(encode(method, target, form).as_bytes())
    }

    /// Reads the status line and the headers; an interim `100 Continue` is skipped.
    pub(crate) fn head(&mut self) -> io::Result<Response> {
        loop {
            let head = self.one_head()?;
            if head.status != 100 {
                return Ok(head);
            }
        }
    }

    /// Reads an interim answer; its status line.
    pub(crate) fn interim(&mut self) -> io::Result<String> {
        self.one_head().map(|head| head.status_line)
    }

    fn one_head(&mut self) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| bad(&format!("status line {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status_line, status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(": ").ok_or_else(|| bad(&format!("header {line:?}")))?;
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Reads one whole answer to a request of this method.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.head()?;
        if method == "HEAD" || response.status == 204 {
            return Ok(response);
        }
        if response.header("Transfer-Encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                response.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = response.header("Content-Length") {
            let length = length.parse().map_err(|_| bad(&format!("Content-Length {length:?}")))?;
            response.body.resize(length, 0);
            self.stream.read_exact(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// The next chunk of a chunked body, `None` for the final one. A body that is cut off is an error of kind `UnexpectedEof`.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| bad(&format!("chunk size {size:?}")))?;
        let mut data = vec![0; size + 2];
        self.stream.read_exact(&mut data)?;
        if !data.ends_with(b"\r\n") {
            return Err(bad("a chunk does not end in CR LF"));
        }
        data.truncate(size);
        Ok((size > 0).then_some(data))
    }

    /// The next bytes, whatever they are.
    pub(crate) fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.stream.read_exact(&mut read).expect("as many bytes as were announced");
        read
    }

    /// Reads so many bytes at most; false: there are no more.
    pub(crate) fn some(&mut self, bytes: usize) -> bool {
        self.stream.read(&mut vec![0; bytes]).is_ok_and(|read| read > 0)
    }

    /// Reads so many bytes and forgets them.
    pub(crate) fn skip(&mut self, bytes: usize) {
        drop(self.exactly(bytes));
    }

    /// The next event of a stream: one chunk holding one JSON document and a newline.
    pub(crate) fn event(&mut self) -> io::Result<serde_json::Value> {
        let chunk = self.chunk()?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        assert!(chunk.ends_with(b"\n"), "an event ends in a newline: {:?}", String::from_utf8_lossy(&chunk));
        serde_json::from_slice(&chunk).map_err(|e| bad(&e.to_string()))
    }

    /// True when nothing at all arrives for this long (and the connection stays open).
    pub(crate) fn silent_for(&mut self, limit: Duration) -> bool {
        self.set_patience(limit);
        let silent = matches!(self.stream.fill_buf(), Err(e) if would_block(&e));
        self.set_patience(PATIENCE);
        silent
    }

    /// Everything up to the end of the connection, or an error of kind `WouldBlock` when it stays open.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        match self.stream.read_to_end(&mut all) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => Err(e),
            _ => Ok(all),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\r\n") else {
            let kind = if line.ends_with(b"\n") { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
            return Err(io::Error::new(kind, format!("line {:?}", String::from_utf8_lossy(&line))));
        };
        String::from_utf8(text.to_vec()).map_err(|_| bad("a head line is not UTF-8"))
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The bytes of a plain request.
pub(crate) fn encode(method: &str, target: &str, form: Option<&str>) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    if let Some(form) = form {
        let _ = write!(
            text,
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
    } else {
        text.push_str("\r\n");
    }
    text
}

/// Form-encodes name-value pairs.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let parts: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    parts.join("&")
}

/// Percent-encodes all bytes but letters, digits, `-`, `_` and `.`.
pub(crate) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// A client with one kept-alive connection that is opened again after any failure.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
    patience: Duration,
}

impl Client {
    /// Connects lazily.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, patience: PATIENCE }
    }

    /// The same, of a server with this URL.
    pub(crate) fn at(url: &str) -> Self {
        Self::new(url.strip_prefix("http://").expect("a URL").parse().expect("an address"))
    }

    /// Waits no longer than this for a part of an answer; the connection is given up then.
    pub(crate) fn patient(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn send(&mut self, method: &str, target: &str, form: Option<&str>) -> io::Result<()> {
        self.send_raw(encode(method, target, form).as_bytes())
    }

    /// Sends the bytes of one request without waiting for its answer.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.connection.is_none() {
            let mut connection = Connection::open(self.address)?;
            connection.set_patience(self.patience);
            self.connection = Some(connection);
        }
        let connection = self.connection.as_mut().expect("opened above");
        let sent = connection.send(bytes);
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    /// The answer to the request sent last.
    pub(crate) fn receive(&mut self, method: &str) -> io::Result<Response> {
        let connection = self.connection.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let response = connection.response(method);
        if response.as_ref().map_or(true, |r| r.header("Connection") == Some("close")) {
            self.connection = None;
        }
        response
    }

    /// One request and its answer, or why there is none.
    pub(crate) fn attempt(&mut self, method: &str, target: &str, form: Option<&str>) -> io::Result<Response> {
        self.send(method, target, form)?;
        self.receive(method)
    }

    /// One request that must be answered.
    pub(crate) fn request(&mut self, method: &str, target: &str, form: Option<&str>) -> Response {
        self.attempt(method, target, form).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// GET of a path such as `/v2/keys/a`.
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, None)
    }

    /// PUT with a form.
    pub(crate) fn put(&mut self, target: &str, pairs: &[(&str, &str)]) -> Response {
        self.request("PUT", target, Some(&form(pairs)))
    }

    /// DELETE.
    pub(crate) fn delete(&mut self, target: &str) -> Response {
        self.request("DELETE", target, None)
    }

    /// PUT of a plain value that must succeed; the index it got.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> u64 {
        let response = self.put(&format!("/v2/keys{key}"), &[("value", value)]);
        assert!(response.status < 300, "set {key}: {response:?}");
        response.index()
    }

    /// The value of a key, `None` when it does not exist.
    pub(crate) fn value(&mut self, key: &str) -> Option<String> {
        let response = self.get(&format!("/v2/keys{key}"));
        match response.status {
            404 => None,
            200 => Some(response.json()["node"]["value"].as_str().expect("a file has a value").to_owned()),
            _ => panic!("get {key}: {response:?}"),
        }
    }

    /// What `/metrics` says of a name without labels; 0 if nothing.
    pub(crate) fn metric(&mut self, name: &str) -> u64 {
        let page = self.get("/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }

    /// The current number of watchers.
    pub(crate) fn watchers(&mut self) -> u64 {
        self.get("/v2/stats/store").json()["watchers"].as_u64().expect("watchers is a number")
    }
}
