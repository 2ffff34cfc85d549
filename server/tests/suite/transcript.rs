//! The recorded transcript of etcd 2.3.8 (`tests/transcript/single_node.txt`), run with real curl against the server under test.

use std::fmt::Write as _;

use crate::harness::{Flavor, Plan, Server, need, shell};

const TRANSCRIPT: &str = include_str!("../transcript/single_node.txt");
const DIFFERENCES: &str = include_str!("../../../docs/differences.md");

/// The names the transcript was recorded with; the run's own take their place.
const RECORDED: Recorded = Recorded {
    client: "127.0.0.1:20801",
    peer: "127.0.0.1:20802",
    cluster: "aec90be098f40e0d",
    member: "5a12f761122bc243",
    member_decimal: "6490522009283052099",
};

struct Recorded {
    client: &'static str,
    peer: &'static str,
    cluster: &'static str,
    member: &'static str,
    member_decimal: &'static str,
}

/// A command, what 2.3.8 printed, and what other servers do instead.
struct Step {
    line: usize,
    case: String,
    command: String,
    output: String,
    variants: Vec<Variant>,
}

struct Variant {
    servers: String,
    entry: String,
    steps: Vec<(String, String)>,
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut case = String::new();
    let mut inside_variant = false;
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix("# ") {
            comment.clone_into(&mut case);
        } else if line == "% end" {
            inside_variant = false;
        } else if let Some(head) = line.strip_prefix("% ") {
            let (servers, entry) = head.split_once(' ').expect("% SERVERS ENTRY");
            let step = steps.last_mut().expect("a variant follows its command");
            step.variants.push(Variant { servers: servers.into(), entry: entry.into(), steps: Vec::new() });
            inside_variant = true;
        } else if line != "#" {
            add(&mut steps, inside_variant, number + 1, &case, line);
        }
    }
    steps
}

/// Adds a command or a line of output to the step, or to the variant that is being read.
fn add(steps: &mut Vec<Step>, inside_variant: bool, number: usize, case: &str, line: &str) {
    let command = line.strip_prefix("$ ");
    if inside_variant {
        let variant = steps.last_mut().and_then(|step| step.variants.last_mut()).expect("inside a variant");
        match command {
            Some(command) => variant.steps.push((command.into(), String::new())),
            None => push_line(&mut variant.steps.last_mut().expect("output follows a command").1, line),
        }
    } else if let Some(command) = command {
        let (case, command) = (case.to_owned(), command.to_owned());
        steps.push(Step { line: number, case, command, output: String::new(), variants: Vec::new() });
    } else {
        push_line(&mut steps.last_mut().expect("output follows a command").output, line);
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Ids and raft numbers of this run, for both directions of comparison.
struct Run {
    preamble: String,
    replacements: Vec<(&'static str, String)>,
}

impl Run {
    fn new(server: &Server) -> Self {
        let mut client = server.client();
        let members = client.get("/v2/members");
        let member = members.json()["members"][0]["id"].as_str().expect("a member has an id").to_owned();
        let decimal = u64::from_str_radix(&member, 16).expect("ids are hexadecimal").to_string();
        let cluster = members.header("X-Etcd-Cluster-Id").expect("members answers carry the cluster id").to_owned();
        let preamble = format!(
            r#"c() {{ curl -s -w "[%{{http_code}}]\n" "$@"; }}
h() {{ curl -s -o /dev/null -D - "$@" | tr -d "\r" | grep -vi "^date" | grep .; }}
x() {{ sed -E 's/"expiration":"[^"]*"/"expiration":"T"/g'; }}
E=http://{}; K=$E/v2/keys; PR=http://{}
"#,
            server.address(),
            server.peer_address()
        );
        let replacements = vec![
            (RECORDED.client, server.address().to_string()),
            (RECORDED.peer, server.peer_address().to_string()),
            (RECORDED.cluster, cluster),
            (RECORDED.member, member),
            (RECORDED.member_decimal, decimal),
        ];
        Self { preamble, replacements }
    }

    fn expected(&self, recorded: &str) -> String {
        let text = self.replacements.iter().fold(recorded.to_owned(), |text, (from, to)| text.replace(from, to));
        without_raft_numbers(&text)
    }

    /// Runs a command; what went wrong, or nothing.
    fn check(&self, command: &str, recorded: &str) -> Option<String> {
        let output = shell(&format!("{}{command}", self.preamble));
        let got = without_raft_numbers(&String::from_utf8_lossy(&output.stdout));
        let want = self.expected(recorded);
        (got != want).then(|| format!("$ {command}\nwant:\n{want}got:\n{got}"))
    }
}

/// Raft indices and terms are the log's business, not the client's: only their presence is compared.
fn without_raft_numbers(text: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some((name @ ("X-Raft-Index" | "X-Raft-Term"), number)) if number.parse::<u64>().is_ok() => {
            format!("{name}: N\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn every_line_of_the_transcript_of_2_3_8_but_the_documented_differences() {
    need("curl");
    let server = Plan::new().start();
    let run = Run::new(&server);
    let flavor = if server.flavor() == Flavor::Uetcd { "uetcd" } else { "etcd" };
    let mut failures = String::new();
    for step in parse(TRANSCRIPT) {
        let variant = step.variants.iter().find(|variant| variant.servers.split(',').any(|name| name == flavor));
        let alone = [(step.command.clone(), step.output.clone())];
        for (command, output) in variant.map_or(&alone[..], |variant| &variant.steps) {
            if let Some(failure) = run.check(command, output) {
                let _ = writeln!(failures, "line {}: {}\n{failure}", step.line, step.case);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_difference_in_the_transcript_has_its_reason_in_the_documentation() {
    let steps = parse(TRANSCRIPT);
    assert!(steps.len() > 100, "only {} commands", steps.len());
    for variant in steps.iter().flat_map(|step| &step.variants) {
        if variant.servers.contains("uetcd") {
            let heading = format!("### {}\n", variant.entry);
            assert!(DIFFERENCES.contains(&heading), "docs/differences.md has no {heading:?}");
        }
    }
}
