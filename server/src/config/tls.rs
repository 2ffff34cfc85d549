//! TLS flags, none of which this version can follow yet. A wish for TLS is never answered with
//! plain text without a word.

use super::Exit;
use super::command::Values;
use super::urls::{Scheme, Url, Urls};
use crate::logging::{LogLine, Severity};

/// The flags of one kind of listener.
struct Listener {
    /// What it is called in messages.
    who: &'static str,
    /// What its flags have in front.
    prefix: &'static str,
}

/// Checks both kinds of listeners, peers first as etcd does; warnings go to `log`.
pub(crate) fn check(values: &Values, peer: &Urls, client: &Urls, log: &mut Vec<LogLine>) -> Result<(), Exit> {
    let listeners =
        [(Listener { who: "peer", prefix: "peer-" }, peer), (Listener { who: "client", prefix: "" }, client)];
    for (listener, urls) in listeners {
        for url in urls {
            listener.check(values, url, log)?;
        }
    }
    Ok(())
}

impl Listener {
    fn check(&self, values: &Values, url: &Url, log: &mut Vec<LogLine>) -> Result<(), Exit> {
        let (who, prefix) = (self.who, self.prefix);
        let text = |flag: &str| values.text(&format!("{prefix}{flag}"));
        let (cert, key) = (text("cert-file"), text("key-file"));
        // Whatever etcd would say of the files: nobody needs to make them.
        if url.scheme().is_tls() {
            return Err(Exit::unsupported(&format!("TLS ({url})")));
        }
        let client_auth = match (values.bool(&format!("{prefix}client-cert-auth")), text("ca-file")) {
            (true, _) => Some("client-cert-auth"),
            (false, "") => None,
            (false, _) => Some("ca-file"),
        };
        if let Some(flag) = client_auth {
            let text = format!("-{prefix}{flag} is set, but {url} is plain text, so nobody would be authenticated");
            return Err(Exit::critical("etcdmain", text));
        }
        if url.scheme() == Scheme::Http && !(cert.is_empty() && key.is_empty()) {
            let text = format!(
                "The scheme of {who} url {url} is http while {who} key/cert files are presented. Ignored {who} key/cert \
                 files."
            );
            log.push(LogLine::new(Severity::Warning, "etcdmain", text));
        }
        Ok(())
    }
}
