//! One connection: requests out, answers in, checked and timed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use hdrhistogram::Histogram;
use net::http::client::{ResponseError, decode_head};

use crate::workload::{Expect, Workload};

/// Latencies are kept in microseconds with three significant digits; what takes longer than this counts as this.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Bytes read at a time.
const READ_BYTES: usize = 16 << 10;

/// Why a run says nothing about the server's speed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection broke.
    #[error(
        "connection {connection}: {source}. Is there an etcd v2 server at the endpoint, and is its descriptor limit high enough?"
    )]
    Io {
        /// Its number.
        connection: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is no HTTP.
    #[error("connection {connection}: {source}")]
    Http {
        /// Its number.
        connection: u32,
        /// What is wrong.
        source: ResponseError,
    },
    /// The answer is not what must be answered.
    #[error("connection {connection}: a wrong answer: {what}")]
    Wrong {
        /// Its number.
        connection: u32,
        /// What is wrong.
        what: String,
    },
}

/// What one connection measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Microseconds from sending a request to having its whole answer.
    pub(crate) latency_us: Histogram<u64>,
}

struct Asked {
    at: Instant,
    expect: Expect,
}

struct Driver {
    connection: u32,
    stream: TcpStream,
    input: Vec<u8>,
    under_way: VecDeque<Asked>,
    last_index: u64,
    latency_us: Histogram<u64>,
    measure_from: Instant,
}

/// Drives one connection until the time is over.
pub(crate) async fn drive(
    endpoint: SocketAddr,
    workload: Rc<Workload>,
    connection: u32,
    measure_from: Instant,
    until: Instant,
) -> Result<Measured, Failure> {
    let broken = |source| Failure::Io { connection, source };
    let stream = TcpStream::connect(endpoint).await.map_err(|error| broken(error.into()))?;
    stream.set_nodelay(true).map_err(|error| broken(error.into()))?;
    let Ok(latency_us) = Histogram::new_with_max(LATENCY_US_MAX, 3) else { panic!("the bounds are valid") };
    let (input, under_way) = (Vec::new(), VecDeque::new());
    let mut driver = Driver { connection, stream, input, under_way, last_index: 0, latency_us, measure_from };
    let mut generator = workload.generator(connection);
    let mut out = Vec::new();
    loop {
        out.clear();
        let now = Instant::now();
        while now < until && driver.under_way.len() < workload.pipeline {
            let expect = workload.next(&mut generator, &mut out);
            driver.under_way.push_back(Asked { at: now, expect });
        }
        if driver.under_way.is_empty() {
            return Ok(Measured { latency_us: driver.latency_us });
        }
        driver.stream.write_all(&out).await.map_err(broken)?;
        driver.receive().await?;
    }
}

impl Driver {
    /// Waits for input and takes in every answer that is complete.
    async fn receive(&mut self) -> Result<(), Failure> {
        let connection = self.connection;
        let mut chunk = vec![0; READ_BYTES];
        let read = self.stream.read(&mut chunk).await.map_err(|source| Failure::Io { connection, source })?;
        if read == 0 {
            return Err(Failure::Io { connection, source: io::ErrorKind::UnexpectedEof.into() });
        }
        self.input.extend_from_slice(&chunk[..read]);
        while self.take_answer()? {}
        Ok(())
    }

    fn take_answer(&mut self) -> Result<bool, Failure> {
        let connection = self.connection;
        let http = |source| Failure::Http { connection, source };
        let Some((head, length)) = decode_head(&self.input, false).map_err(http)? else { return Ok(false) };
        let mut body = head.body();
        let mut content = Vec::new();
        let progress = body.decode(&self.input[length..], &mut content).map_err(http)?;
        if !progress.finished {
            return Ok(false);
        }
        self.input.drain(..length + progress.consumed);
        let wrong = |what: String| Failure::Wrong { connection, what };
        let Some(asked) = self.under_way.pop_front() else { return Err(wrong("nothing was asked".to_owned())) };
        let fits = match asked.expect {
            Expect::Written => matches!(head.status, 200 | 201),
            Expect::Read => matches!(head.status, 200 | 404),
        };
        if !fits {
            return Err(wrong(format!("{} {}", head.status, String::from_utf8_lossy(&content))));
        }
        if asked.expect == Expect::Written {
            let text = head.field("X-Etcd-Index").and_then(|text| std::str::from_utf8(text).ok());
            let index = text.and_then(|text| text.parse().ok()).unwrap_or(0);
            if index <= self.last_index {
                return Err(wrong(format!("index {index} after {}", self.last_index)));
            }
            self.last_index = index;
        }
        if asked.at >= self.measure_from {
            let us = u64::try_from(asked.at.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
            self.latency_us.saturating_record(us);
        }
        Ok(true)
    }
}
