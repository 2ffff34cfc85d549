//! Servers that always do the same, whatever they are asked.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

/// What a server does with every connection.
#[derive(Clone, Debug)]
pub(crate) enum Canned {
    /// Accepts and says nothing.
    Silent,
    /// Reads the request and closes.
    Closing,
    /// Answers every request with these bytes, then closes.
    Answering(String),
}

impl Canned {
    /// An HTTP answer.
    pub(crate) fn http(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answering(format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    }

    /// Serves until the test's process ends; gives the URL.
    pub(crate) fn serve(self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                match &self {
                    Self::Silent => silent.push(stream),
                    Self::Closing => drop(thread::spawn(|| reply(stream, ""))),
                    Self::Answering(answer) => {
                        let answer = answer.clone();
                        thread::spawn(move || reply(stream, &answer));
                    }
                }
            }
        });
        url
    }
}

/// Reads the head of one request, and what has come of its body; the client may be gone already, which is its own affair.
fn reply(mut stream: TcpStream, answer: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
    let _ = stream.write_all(answer.as_bytes());
    // What is not read when a connection is closed makes a reset of its end.
    let _ = stream.shutdown(Shutdown::Write).and_then(|()| io::copy(&mut stream, &mut io::sink()));
}
