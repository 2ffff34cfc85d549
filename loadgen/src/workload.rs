//! What is asked: which request comes next, and what its answer must be.

use clap::ValueEnum;

use crate::Options;

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Set keys.
    Put,
    /// Read keys, which need not exist.
    Get,
    /// Read keys through consensus.
    QuorumGet,
    /// Nine reads for each write.
    Mixed,
}

/// What kind of answer a request must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// 200 or 201, and an index above that of the connection's write before.
    Written,
    /// 200, or 404 for a key that was never set.
    Read,
}

/// The load of a run.
#[derive(Debug)]
pub(crate) struct Workload {
    kind: Kind,
    keys: u64,
    directories: u64,
    form: Vec<u8>,
    host: String,
    seed: u64,
    /// Requests under way per connection.
    pub(crate) pipeline: usize,
}

impl Workload {
    pub(crate) fn new(options: &Options) -> Self {
        let mut form = b"value=".to_vec();
        form.resize(form.len() + options.value_size, b'v');
        Self {
            kind: options.workload,
            keys: options.keys,
            directories: options.directories,
            form,
            host: options.endpoint.to_string(),
            seed: options.seed,
            pipeline: options.pipeline as usize,
        }
    }

    /// The generator of one connection.
    pub(crate) fn generator(&self, connection: u32) -> Generator {
        Generator(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(connection) << 32)
    }

    /// Appends the next request to `out`.
    pub(crate) fn next(&self, generator: &mut Generator, out: &mut Vec<u8>) -> Expect {
        let draw = generator.next();
        let key = draw % self.keys;
        let path = format!("/v2/keys/d{}/k{key}", key % self.directories);
        let write = match self.kind {
            Kind::Put => true,
            Kind::Get | Kind::QuorumGet => false,
            Kind::Mixed => (draw >> 32).is_multiple_of(10),
        };
        let host = &self.host;
        if write {
            let length = self.form.len();
            let head = format!(
                "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&self.form);
            return Expect::Written;
        }
        let query = if self.kind == Kind::QuorumGet { "?quorum=true" } else { "" };
        out.extend_from_slice(format!("GET {path}{query} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        Expect::Read
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): the same seed asks for the same keys in the same order.
#[derive(Debug)]
pub(crate) struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
