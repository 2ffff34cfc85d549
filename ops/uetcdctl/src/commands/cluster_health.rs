//! `cluster-health`.

use std::time::Duration;

use serde_json::Value;

use super::Call;
use super::watch::end_well_on_interrupt;
use crate::client::{Client, Deadline, Endpoint, Error, Member, Method, Request};
use crate::failed::{Code, Failed};
use crate::screen;

/// Between two checks of `--forever`.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest wait for one member's answer. A healthy etcd takes a quarter of a second.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(call: &Call) -> Result<(), Failed> {
    let forever = call.flags.is_set("forever");
    if forever {
        end_well_on_interrupt()?;
    }
    // etcdctl reads the TLS files first here, and takes them for the server's fault.
    let files = crate::client::tls_config(&call.settings.tls_files());
    files.map_err(|why| Failed::error(Code::Server, Error::Said(why)))?;
    let client = call.settings.connect_unsynced()?;
    let members = client.members(Deadline::NEVER).map_err(|error| {
        screen::say("cluster may be unhealthy: failed to list members");
        Failed::error(Code::Server, error)
    })?;
    loop {
        let healthy = members.iter().filter(|member| check(&client, member)).count();
        if healthy == members.len() {
            screen::say("cluster is healthy");
        } else if healthy > 0 {
            screen::say("cluster is degraded");
        } else {
            screen::say("cluster is unavailable");
        }
        if !forever {
            return if healthy == members.len() { Ok(()) } else { Err(Failed::silent(Code::NotHealthy)) };
        }
        screen::say_text("\nnext check after 10 second...\n\n");
        std::thread::sleep(PAUSE);
    }
}

/// Whether one member is healthy, which it also says.
fn check(client: &Client, member: &Member) -> bool {
    let id = &member.id;
    if member.client_urls.is_empty() {
        screen::say(format_args!("member {id} is unreachable: no available published client urls"));
        return false;
    }
    for url in &member.client_urls {
        match ask(client, url) {
            Ok(true) => {
                screen::say(format_args!("member {id} is healthy: got healthy result from {url}"));
                return true;
            }
            Ok(false) => {
                screen::say(format_args!("member {id} is unhealthy: got unhealthy result from {url}"));
                return false;
            }
            Err(why) => {
                screen::say(format_args!("failed to check the health of member {id} on {url}: {why}"));
            }
        }
    }
    screen::say(format_args!("member {id} is unreachable: [{}] are all unreachable", member.client_urls.join(" ")));
    false
}

fn ask(client: &Client, url: &str) -> Result<bool, String> {
    let failed = |error: Error| match error {
        Error::Cluster(attempts) => {
            let text = attempts.first().map_or("", |attempt| attempt.text.as_str());
            format!("Get \"{url}/health\": {text}")
        }
        error => format!("Get \"{url}/health\": {error}"),
    };
    let endpoint = Endpoint::parse(url)?;
    let request = Request { waits: true, ..Request::new(Method::Get, "/health") };
    let reply = client.wire().quiet().send(&endpoint, &request, Deadline::within(PATIENCE)).map_err(failed)?;
    let answer: Value = serde_json::from_slice(&reply.body).map_err(|e| e.to_string())?;
    Ok(matches!(&answer["health"], Value::Bool(true)) || answer["health"] == "true")
}
