//! Random operations, the same ones for the same seed and the same answers.

use super::Operation;
use super::replay::{Past, key_of};
use crate::harness::{Response, Rng, percent};

/// Path segments as they stand in a request: plain, hidden, escaped, not UTF-8, with what JSON and HTML escape.
const SEGMENTS: [&str; 20] = [
    "a",
    "b",
    "c",
    "a",
    "b",
    "A",
    "ab",
    "_h",
    "_h",
    "sp%20ace",
    "%C3%A9",
    "%FF",
    "%3C%26%3E",
    "%22%5C",
    "...",
    ".dot",
    "a%2Fb",
    "%E2%80%A8",
    "+p;q=1",
    "%7F%01",
];
const VALUES: [&str; 9] = ["", "1", "2", "1", "three", "<&>\"\\", "\u{2028}\u{e9}\u{7f}\t", "a b+c", "0123456789"];
/// Query fields that are refused, or that look odd and are not.
const ODD_FIELDS: [&str; 24] = [
    "recursive",
    "recursive=tRue",
    "sorted=2",
    "wait=yes",
    "dir=",
    "quorum=%20true",
    "stream=x",
    "prevIndex=-1",
    "prevIndex=",
    "prevIndex=0",
    "prevIndex=18446744073709551616",
    "waitIndex=abc",
    "ttl=-1",
    "ttl=1.5",
    "ttl=",
    "prevValue=",
    "prevExist=2",
    "prevExist=",
    "refresh=maybe",
    "refresh=true",
    "noValueOnSuccess=perhaps",
    "a;b",
    "x=%zz",
    "&&unknown=1&Recursive=bad",
];
/// Targets and methods whose answers do not depend on keys.
const ELSEWHERE: [(&str, &str); 17] = [
    ("PATCH", "/v2/keys/a"),
    ("put", "/v2/keys/a"),
    ("OPTIONS", "/v2/keys/a"),
    ("OPTIONS", "/anything"),
    ("OPTIONS", "/v2/keys//a"),
    ("GET", "/"),
    ("GET", "/v2"),
    ("GET", "/v2/keysx"),
    ("POST", "/version"),
    ("GET", "/v2/members/none"),
    ("DELETE", "/v2/members/zzz"),
    ("POST", "/v2/machines"),
    ("PUT", "/v2/stats/self"),
    ("GET", "/v2/keys//a/../b?x=<1>"),
    ("PUT", "/v2/keys/./a"),
    ("HEAD", "/v2/keys//a"),
    ("GET", "/v2/keys/%2e%2e/%2E%2E/s"),
];

/// Draws the operations of one seed.
pub(crate) struct Generator {
    rng: Rng,
    tops: Vec<String>,
    past: Past,
    /// Indices seen in answers, to compare with.
    indices: Vec<u64>,
    /// What is left to do at the end: the seed's keys are removed, so that the next seed finds a small tree.
    cleanup: Vec<String>,
}

impl Generator {
    /// The seed's keys live in top-level directories of its own.
    pub(crate) fn new(seed: u64) -> Self {
        let mut tops: Vec<_> = (0..4).map(|n| format!("/t{seed}-{n}")).collect();
        tops.push(format!("/_t{seed}"));
        tops.push(format!("/t{seed}%FF"));
        Self { rng: Rng::new(seed), cleanup: tops.clone(), tops, past: Past::default(), indices: vec![1] }
    }

    /// The next operation; `more` until the seed's share is done, then the clean-up, then nothing.
    pub(crate) fn next(&mut self, more: bool) -> Option<Operation> {
        if more {
            return Some(self.draw());
        }
        let key = self.cleanup.pop()?;
        Some(plain("DELETE", format!("/v2/keys{key}?recursive=true")))
    }

    /// Takes in what real etcd answered.
    pub(crate) fn learn(&mut self, operation: &Operation, answer: &Response) {
        self.past.record(operation, answer);
        if answer.index() > 0 {
            self.indices.push(answer.index());
        }
        let to_root = operation.method == "POST" && key_of(&operation.target) == b"/";
        if to_root && answer.status == 201 {
            self.cleanup.push(format!("/{:020}", answer.index()));
        }
    }

    fn draw(&mut self) -> Operation {
        match self.rng.below(100) {
            0..30 => self.put(),
            30..38 => self.post(),
            38..52 => self.delete(),
            52..74 => self.read(),
            74..84 => self.compare(),
            84..89 => self.refresh(),
            89..92 => self.odd(),
            92..94 => self.elsewhere(),
            94..96 => self.root(),
            _ => self.replay(),
        }
    }

    fn key(&mut self) -> String {
        let tops: Vec<&str> = self.tops.iter().map(String::as_str).collect();
        let mut key = self.rng.pick(&tops).to_owned();
        for _ in 0..self.rng.below(4) {
            key.push('/');
            key.push_str(self.rng.pick(&SEGMENTS));
        }
        if self.rng.one_in(20) {
            key.push('/');
        }
        key
    }

    /// A condition or lifetime is added with this chance.
    fn maybe(&mut self, fields: &mut Vec<String>, one_in: u64, field: &str) {
        if self.rng.one_in(one_in) {
            fields.push(field.to_owned());
        }
    }

    fn value(&mut self) -> String {
        format!("value={}", percent(self.rng.pick(&VALUES)))
    }

    /// Far enough away that nothing expires during a run.
    fn ttl(&mut self) -> String {
        format!("ttl={}", 10_000 + self.rng.below(1_000_000))
    }

    fn put(&mut self) -> Operation {
        let mut fields = Vec::new();
        if !self.rng.one_in(6) {
            fields.push(self.value());
        }
        if self.rng.one_in(5) {
            fields.push(self.ttl());
        }
        self.maybe(&mut fields, 6, "dir=true");
        self.maybe(&mut fields, 5, "prevExist=true");
        self.maybe(&mut fields, 5, "prevExist=false");
        self.maybe(&mut fields, 15, "noValueOnSuccess=true");
        let key = self.key();
        self.write("PUT", &key, &fields)
    }

    fn post(&mut self) -> Operation {
        let mut fields = vec![self.value()];
        self.maybe(&mut fields, 5, "dir=true");
        self.maybe(&mut fields, 8, "ttl=77777");
        self.maybe(&mut fields, 8, "prevExist=true&prevIndex=7");
        let key = self.key();
        self.write("POST", &key, &fields)
    }

    fn delete(&mut self) -> Operation {
        let mut fields = Vec::new();
        self.maybe(&mut fields, 3, "dir=true");
        self.maybe(&mut fields, 4, "recursive=true");
        self.maybe(&mut fields, 20, "prevExist=false");
        if self.rng.one_in(4) {
            fields.push(self.condition());
        }
        let key = self.key();
        plain("DELETE", with_query(&key, &fields))
    }

    fn condition(&mut self) -> String {
        if self.rng.one_in(2) {
            return format!("prevValue={}", percent(self.rng.pick(&["1", "2", "three", "no", "<&>\"\\"])));
        }
        let newest = self.indices.len() as u64;
        let back = self.rng.below(newest.min(30)) + 1;
        format!("prevIndex={}", self.indices[(newest - back) as usize])
    }

    fn compare(&mut self) -> Operation {
        let mut fields = vec![self.value(), self.condition()];
        if self.rng.one_in(4) {
            fields.push(self.condition());
        }
        if self.rng.one_in(5) {
            fields.push(self.ttl());
        }
        self.maybe(&mut fields, 4, "prevExist=true");
        self.maybe(&mut fields, 15, "prevExist=false");
        self.maybe(&mut fields, 20, "noValueOnSuccess=1");
        let key = self.key();
        self.write("PUT", &key, &fields)
    }

    fn refresh(&mut self) -> Operation {
        let mut fields = vec!["refresh=true".to_owned(), self.ttl()];
        self.maybe(&mut fields, 2, "prevExist=true");
        self.maybe(&mut fields, 12, "prevExist=false");
        self.maybe(&mut fields, 10, "value=");
        self.maybe(&mut fields, 15, "value=x");
        if self.rng.one_in(4) {
            fields.push(self.condition());
        }
        let key = self.key();
        self.write("PUT", &key, &fields)
    }

    /// The fields of a write stand in the body, in the query, or in both.
    fn write(&mut self, method: &'static str, key: &str, fields: &[String]) -> Operation {
        let kind = match self.rng.below(30) {
            0 => "text/plain",
            1 => "application/x-www-form-urlencoded; charset=utf-8",
            2 => "Application/X-WWW-Form-Urlencoded",
            _ => "application/x-www-form-urlencoded",
        };
        let split = match self.rng.below(4) {
            0 => fields.len(),
            1 => self.rng.below(fields.len() as u64 + 1) as usize,
            _ => 0,
        };
        let body = Some((kind, fields[split..].join("&")));
        Operation { method, target: with_query(key, &fields[..split]), body, unsorted: false }
    }

    fn read(&mut self) -> Operation {
        let mut fields = Vec::new();
        self.maybe(&mut fields, 3, "recursive=true");
        self.maybe(&mut fields, 6, "quorum=true");
        self.maybe(&mut fields, 20, "quorum=true&wait=true");
        let sorted = self.rng.one_in(2);
        if sorted {
            fields.push("sorted=true".to_owned());
        }
        let key = self.key();
        let method = if self.rng.one_in(8) { "HEAD" } else { "GET" };
        Operation { unsorted: !sorted, ..plain(method, with_query(&key, &fields)) }
    }

    fn odd(&mut self) -> Operation {
        let key = self.key();
        let mut fields = vec![self.rng.pick(&ODD_FIELDS).to_owned()];
        self.maybe(&mut fields, 3, self::ODD_FIELDS[self.indices.len() % ODD_FIELDS.len()]);
        let methods = ["GET", "PUT", "POST", "DELETE", "HEAD"];
        let method = methods[self.rng.below(5) as usize];
        Operation { unsorted: true, ..plain(method, with_query(&key, &fields)) }
    }

    fn elsewhere(&mut self) -> Operation {
        let (method, target) = ELSEWHERE[self.rng.below(ELSEWHERE.len() as u64) as usize];
        plain(method, target.to_owned())
    }

    fn root(&mut self) -> Operation {
        match self.rng.below(6) {
            0 => plain("GET", "/v2/keys/?sorted=true".into()),
            1 => Operation { unsorted: true, ..plain("GET", "/v2/keys?recursive=true".into()) },
            2 => plain(
                "DELETE",
                format!(
                    "/v2/keys{}",
                    ["", "/?dir=true", "?recursive=true", "/?prevIndex=1"][self.rng.below(4) as usize]
                ),
            ),
            3 => self.write("PUT", "/", &["value=1".into()]),
            4 => self.write("PUT", "", &["prevExist=true".into(), "prevValue=1".into()]),
            _ => self.write("POST", "/", &["value=in-order".into()]),
        }
    }

    fn replay(&mut self) -> Operation {
        let indices = self.past.recent_indices();
        for _ in 0..20 {
            if indices.is_empty() {
                break;
            }
            let since = indices[self.rng.below(indices.len() as u64) as usize];
            let key = self.key();
            let recursive = self.rng.one_in(2);
            if self.past.is_clear(&key_of(&format!("/v2/keys{key}")), recursive, since) {
                return plain("GET", format!("/v2/keys{key}?wait=true&recursive={recursive}&waitIndex={since}"));
            }
        }
        self.read()
    }
}

fn plain(method: &'static str, target: String) -> Operation {
    Operation { method, target, body: None, unsorted: false }
}

fn with_query(key: &str, fields: &[String]) -> String {
    let question = if fields.is_empty() { "" } else { "?" };
    format!("/v2/keys{key}{question}{}", fields.join("&"))
}
