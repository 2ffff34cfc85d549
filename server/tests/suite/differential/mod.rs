//! The same random operations into the server under test and into real etcd 3.4; every answer must be the same.
//!
//! One pair of fresh servers takes all seeds in turn, one operation at a time, so that even the indices must be equal. Not compared, because no two
//! runs agree on them: dates, instants of expiration, `ttl` by one second, raft indices, cluster ids, the order of unsorted listings.
//! Left to other tests, because uetcd fixes what etcd does there: replays that etcd gets wrong, streams, ttl overflow.

mod compare;
mod generate;
mod replay;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::harness::{Client, Flavor, Plan, Response, Server, env_number};

use compare::difference;
use generate::Generator;

/// Operations of one seed.
const OPERATIONS: u64 = 300;
/// Seeds of one run unless `SUITE_SEEDS` says otherwise: half a minute on two cores; a full run takes 200 and more.
const SEEDS: u64 = 100;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    method: &'static str,
    target: String,
    /// `Content-Type` and body.
    body: Option<(&'static str, String)>,
    /// A listing whose order is not promised.
    unsorted: bool,
}

impl Operation {
    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", self.method, self.target);
        match &self.body {
            Some((kind, body)) => {
                let _ = write!(text, "Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
            None => text += "\r\n",
        }
        text.into_bytes()
    }

    /// The same request for a shell.
    fn curl(&self, address: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let head = if self.method == "HEAD" { "-I".into() } else { format!("-X{}", self.method) };
        let body = self
            .body
            .as_ref()
            .map_or(String::new(), |(kind, body)| format!(" -H 'Content-Type: {kind}' --data-binary {}", quoted(body)));
        format!("curl -gi --path-as-is {head}{body} {}", quoted(&format!("http://{address}{}", self.target)))
    }
}

struct Pair {
    tested: (Server, Client),
    real: (Server, Client),
}

impl Pair {
    fn start() -> Self {
        let with_client = |server: Server| {
            let client = server.client();
            (server, client)
        };
        Self { tested: with_client(Plan::new().start()), real: with_client(Plan::of(Flavor::Etcd).start()) }
    }

    /// Both answers: the tested server's and the real one's.
    fn ask(&mut self, operation: &Operation) -> (Response, Response) {
        let bytes = operation.bytes();
        for (_, client) in [&mut self.tested, &mut self.real] {
            client.send_raw(&bytes).unwrap_or_else(|e| panic!("{operation:?}: {e}"));
        }
        let mut receive = |which: usize| {
            let (server, client) = if which == 0 { &mut self.tested } else { &mut self.real };
            client.receive(operation.method).unwrap_or_else(|e| panic!("{operation:?}: {:?}: {e}", server.flavor()))
        };
        (receive(0), receive(1))
    }
}

#[test]
fn random_operations_are_answered_as_real_etcd_answers_them() {
    let mut pair = Pair::start();
    let only = std::env::var("SUITE_SEED").is_ok().then(|| env_number("SUITE_SEED", 0));
    let seeds = only.map_or(0..env_number("SUITE_SEEDS", SEEDS), |seed| seed..seed + 1);
    let mut statuses = BTreeMap::<u16, u64>::new();
    for seed in seeds.clone() {
        run_seed(&mut pair, seed, &mut statuses);
    }
    println!("{} seeds of {OPERATIONS} operations; answers by status: {statuses:?}", seeds.count());
    for status in [200, 201, 301, 400, 403, 404, 405, 412] {
        assert!(statuses.contains_key(&status), "the generator never provoked {status}: {statuses:?}");
    }
}

fn run_seed(pair: &mut Pair, seed: u64, statuses: &mut BTreeMap<u16, u64>) {
    let mut generator = Generator::new(seed);
    let mut number = 0;
    while let Some(operation) = generator.next(number < OPERATIONS) {
        let (tested, real) = pair.ask(&operation);
        if let Some(what) = difference(&operation, &tested, &real) {
            let address = pair.tested.0.address().to_string();
            panic!(
                "seed {seed}, operation {number}: {what} differs\n{}\ntested: {}\nreal:   {}\nagain: SUITE_SEED={seed} \
                 cargo nextest run -p server differential",
                operation.curl(&address),
                show(&tested),
                show(&real)
            );
        }
        *statuses.entry(real.status).or_default() += 1;
        generator.learn(&operation, &real);
        number += 1;
    }
}

/// The answer, a long listing cut short.
fn show(response: &Response) -> String {
    let body: String = response.text().chars().take(4000).collect();
    format!("{}\n  {:?}\n  {body}", response.status_line, response.headers)
}
