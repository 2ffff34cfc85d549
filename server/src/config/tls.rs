//! TLS flags: what etcd refuses about them, and what this version cannot do yet. A wish for TLS is never answered with
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
        let fatal = |text: String| Err(Exit::critical("etcdmain", text));
        if url.scheme().is_tls() {
            return match (cert.is_empty(), key.is_empty()) {
                (true, true) => fatal(format!("{}: KeyFile and CertFile are not presented", self.cannot_listen(url))),
                (true, _) | (_, true) => {
                    fatal(format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"))
                }
                (false, false) => Err(Exit::unsupported(&format!("TLS ({url})"))),
            };
        }
        let client_auth = match (values.bool(&format!("{prefix}client-cert-auth")), text("ca-file")) {
            (true, _) => Some("client-cert-auth"),
            (false, "") => None,
            (false, _) => Some("ca-file"),
        };
        if let Some(flag) = client_auth {
            return fatal(format!("-{prefix}{flag} is set, but {url} is plain text, so nobody would be authenticated"));
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

    fn cannot_listen(&self, url: &Url) -> String {
        match self.who {
            "client" => "cannot listen on TLS for given listener".to_owned(),
            _ => format!("cannot listen on TLS for {url}"),
        }
    }
}
