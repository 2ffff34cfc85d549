//! Requests, written into the connection's output buffer.

use net::decimal::push_u64;

/// Writes requests for one endpoint.
#[derive(Debug)]
pub(crate) struct RequestWriter {
    /// What follows the target in every head: version and host.
    tail: Vec<u8>,
    path: Vec<u8>,
    form: Vec<u8>,
}

impl RequestWriter {
    /// `host` is the endpoint as `Host` names it.
    pub(crate) fn new(host: &str) -> Self {
        let tail = format!(" HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        Self { tail, path: Vec::new(), form: Vec::new() }
    }

    /// Sets the key that the next requests are about, with what `push` appends: `/` and segments of unreserved characters.
    pub(crate) fn key(&mut self, push: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.path.clear();
        push(&mut self.path);
        self
    }

    /// Appends a request without a body. `query` begins with `?`, or is empty.
    pub(crate) fn plain(&self, out: &mut Vec<u8>, method: &str, query: &str) {
        self.push_line(out, method, query);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a request whose form is what `push` appends.
    pub(crate) fn form(&mut self, out: &mut Vec<u8>, method: &str, query: &str, push: impl FnOnce(&mut Vec<u8>)) {
        self.form.clear();
        push(&mut self.form);
        self.push_line(out, method, query);
        out.extend_from_slice(b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ");
        push_u64(out, self.form.len() as u64);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.form);
    }

    fn push_line(&self, out: &mut Vec<u8>, method: &str, query: &str) {
        out.extend_from_slice(method.as_bytes());
        out.extend_from_slice(b" /v2/keys");
        out.extend_from_slice(&self.path);
        out.extend_from_slice(query.as_bytes());
        out.extend_from_slice(&self.tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_a_server_expects() {
        let mut writer = RequestWriter::new("h:1");
        let mut out = Vec::new();
        writer.key(|path| path.extend_from_slice(b"/a/b")).plain(&mut out, "GET", "?quorum=true");
        writer.form(&mut out, "PUT", "", |form| form.extend_from_slice(b"value=x"));
        assert_eq!(
            String::from_utf8(out).expect("ASCII"),
            "GET /v2/keys/a/b?quorum=true HTTP/1.1\r\nHost: h:1\r\n\r\n\
             PUT /v2/keys/a/b HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: 7\r\n\r\nvalue=x"
        );
    }
}
