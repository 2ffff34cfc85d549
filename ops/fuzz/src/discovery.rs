//! What a discovery service answers. The parser is a part of the server, which is a program and no library: its files are
//! compiled here once more.

mod config;

pub(crate) use config::check;

/// What replies are made of.
pub(crate) const WORDS: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\n",
    b"X-Etcd-Index: ",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"Location: ",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"{\"action\":\"get\",\"node\":",
    b"\"nodes\":[",
    b"\"key\":\"/_etcd/registry/x/1\"",
    b"\"value\":",
    b"\"createdIndex\":",
    b"\"errorCode\":105",
    b"[[[[[[[[",
    b"\\ud800",
];
