//! From the global flags and the environment to a client.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use srv::Patience;

use crate::cli::{Manner, Values};
use crate::client::{Client, Deadline, Endpoint, Error, Files, Wire, discover, tls_config};
use crate::failed::{Code, Failed};
use crate::{prompt, screen};

const DEFAULT_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/// The global flags.
#[derive(Debug)]
pub(crate) struct Settings {
    manner: Manner,
    flags: Values,
}

impl Settings {
    /// The flags as they were typed.
    pub(crate) fn new(manner: Manner, flags: Values) -> Self {
        Self { manner, flags }
    }

    /// How the program was called.
    pub(crate) fn manner(&self) -> Manner {
        self.manner
    }

    /// The format of `--output`.
    pub(crate) fn output(&self) -> &str {
        self.flags.text("output")
    }

    /// The time that `--total-timeout` gives, from now on.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::within(self.flags.duration("total-timeout"))
    }

    /// The text of a flag, else of the variable.
    fn text(&self, flag: &str, variable: &str) -> String {
        let typed = self.flags.text(flag);
        if typed.is_empty() { std::env::var(variable).unwrap_or_default() } else { typed.to_owned() }
    }

    fn debug(&self) -> bool {
        self.flags.is_set("debug")
    }

    /// A client of the cluster, synchronized unless `--no-sync`.
    ///
    /// # Errors
    /// Bad endpoints or files; nobody to reach.
    pub(crate) fn connect(&self) -> Result<Client, Failed> {
        let client = self.client()?;
        if !self.flags.is_set("no-sync") {
            self.sync(&client)?;
        }
        self.show_endpoints(&client);
        Ok(client)
    }

    /// A client of exactly the endpoints that were given.
    ///
    /// # Errors
    /// Bad endpoints or files.
    pub(crate) fn connect_unsynced(&self) -> Result<Client, Failed> {
        let client = self.client()?;
        self.show_endpoints(&client);
        Ok(client)
    }

    /// A client of another cluster: the same TLS files and timeouts, its own endpoints and user.
    ///
    /// # Errors
    /// Bad endpoints or files.
    pub(crate) fn connect_to(&self, endpoints: &str, user: &str) -> Result<Client, Failed> {
        let endpoints = parse_endpoints(endpoints)?;
        let wire = self.wire(user.as_bytes())?;
        Ok(Client::new(wire, endpoints))
    }

    fn client(&self) -> Result<Client, Failed> {
        let endpoints = self.endpoints()?;
        let typed = self.flags.bytes("username");
        let set = if typed.is_empty() { std::env::var_os("ETCDCTL_USERNAME") } else { None };
        let user = set.map_or_else(|| typed.to_owned(), OsString::into_vec);
        Ok(Client::new(self.wire(&user)?, endpoints))
    }

    fn wire(&self, user: &[u8]) -> Result<Wire, Failed> {
        let tls = tls_config(&self.tls_files()).map_err(Failed::said)?;
        let (name, password) = match user.iter().position(|&byte| byte == b':') {
            Some(colon) => (&user[..colon], user[colon + 1..].to_owned()),
            None if user.is_empty() => (user, Vec::new()),
            None => (user, prompt::password("Password: ")?),
        };
        let user = (!name.is_empty()).then_some((name, password.as_slice()));
        Ok(Wire::new(tls, self.timeout(), user, self.debug()))
    }

    /// As in Go, zero is no limit.
    fn timeout(&self) -> Option<Duration> {
        Some(self.flags.duration("timeout")).filter(|limit| !limit.is_zero())
    }

    /// For name servers: they get the times of requests, if those are times at all.
    fn patience(&self) -> Patience {
        let or = |flag: &str, other| Some(self.flags.duration(flag)).filter(|limit| !limit.is_zero()).unwrap_or(other);
        let whole = or("total-timeout", Duration::from_secs(5));
        Patience { once: or("timeout", whole).min(whole), whole }
    }

    /// The files of `--cert-file` and its like.
    pub(crate) fn tls_files(&self) -> Files {
        Files {
            cert: self.text("cert-file", "ETCDCTL_CERT_FILE"),
            key: self.text("key-file", "ETCDCTL_KEY_FILE"),
            ca: self.text("ca-file", "ETCDCTL_CA_FILE"),
        }
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, Failed> {
        let discovered = self.discovered()?;
        if discovered.is_empty() { parse_endpoints(&self.given_endpoints()) } else { Ok(discovered) }
    }

    /// Any flag goes before any variable.
    fn given_endpoints(&self) -> String {
        let typed = ["endpoints", "endpoint", "peers"].map(|flag| self.flags.text(flag).to_owned());
        let variables = ["ETCDCTL_ENDPOINTS", "ETCDCTL_ENDPOINT", "ETCDCTL_PEERS"];
        let set = variables.map(|name| std::env::var(name).unwrap_or_default());
        let given = typed.into_iter().chain(set).find(|list| !list.is_empty());
        given.unwrap_or_else(|| DEFAULT_ENDPOINTS.to_owned())
    }

    fn discovered(&self) -> Result<Vec<Endpoint>, Failed> {
        let domain = self.text("discovery-srv", "ETCDCTL_DISCOVERY_SRV");
        if domain.is_empty() {
            return Ok(Vec::new());
        }
        let insecure = self.flags.is_set("insecure-discovery")
            || std::env::var_os("ETCDCTL_INSECURE_DISCOVERY").is_some_and(|value| !value.is_empty());
        let mut endpoints = Vec::new();
        let slow = |what: &str| {
            if self.manner == Manner::Own {
                screen::complain(&format!("hint: {what}\n"));
            }
        };
        for url in discover(&domain, self.patience(), slow).map_err(Failed::said)? {
            if url.starts_with("http://") && !insecure {
                screen::complain(&format!("ignoring discovered insecure endpoint {}\n", crate::text::quote(&url)));
                continue;
            }
            // No certificate names a host with the dot that DNS ends it with.
            endpoints.push(Endpoint::parse(&url.replace(".:", ":")).map_err(Failed::said)?);
        }
        Ok(endpoints)
    }

    fn sync(&self, client: &Client) -> Result<(), Failed> {
        if self.debug() {
            screen::complain(&format!("start to sync cluster using endpoints({})\n", joined(client, ",")));
        }
        match client.sync(self.deadline()) {
            Err(Error::NoEndpoints) => {
                let asked = joined(client, ",");
                let mut failed = Failed::error(Code::Server, Error::NoEndpoints);
                failed.text = format!(
                    "etcd cluster has no published client endpoints.\n\
                     Try '--no-sync' if you want to access non-published client endpoints({asked}).\n{}",
                    failed.text
                );
                return Err(failed);
            }
            Err(error) if error.is_connection() => return Err(Failed::error(Code::BadConnection, error)),
            // Whatever else it was, the command will meet it again, and say so.
            Err(_) | Ok(()) => {}
        }
        if self.debug() {
            screen::complain(&format!("got endpoints({}) after sync\n", joined(client, ",")));
        }
        Ok(())
    }

    /// The line of `--debug` that says where requests go.
    pub(crate) fn show_endpoints(&self, client: &Client) {
        if self.debug() {
            screen::complain(&format!("Cluster-Endpoints: {}\n", joined(client, ", ")));
        }
    }
}

fn parse_endpoints(list: &str) -> Result<Vec<Endpoint>, Failed> {
    let parsed = list.split(',').map(Endpoint::parse).collect::<Result<_, _>>();
    parsed.map_err(|why| Failed::bare(Error::BadEndpoint(why)))
}

fn joined(client: &Client, between: &str) -> String {
    client.endpoints().iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}
