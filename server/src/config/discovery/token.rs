//! The discovery URL, taken apart: where the service is, and which of its keys is the registry of this cluster.

use super::super::urls::{authority_fault, split_scheme};
use super::super::value::quote;

/// A registry of one cluster. Its whole text is hashed into ids, so it is kept as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// `scheme://host[:port]`.
    service: String,
    /// The path of the registry, beginning with `/v2/keys` if it is one; escaped, without a slash at its end.
    path: String,
}

impl Token {
    /// Reads a discovery URL. The error is Go's text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = split_scheme(text)?;
        let rest = rest.strip_prefix("//").unwrap_or("");
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if let Some(fault) = authority_fault(authority) {
            return Err(format!("parse {}: {fault}", quote(text)));
        }
        let scheme = scheme.to_ascii_lowercase();
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err(format!("unsupported protocol scheme {}", quote(&scheme)));
        }
        if authority.is_empty() {
            return Err("http: no Host in request URL".to_owned());
        }
        if authority.contains('@') {
            return Err("uetcd sends no user and password to a discovery service".to_owned());
        }
        let path = behind.split(['?', '#']).next().unwrap_or("");
        let pieces = path.split('/').filter(|piece| !piece.is_empty());
        let path = pieces.fold(String::new(), |path, piece| path + "/" + &escaped(piece));
        Ok(Self { service: format!("{scheme}://{authority}"), path })
    }

    /// Where the service is, as it stands in the log.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// The path of a key below the registry's; its own for an empty one.
    pub(super) fn path(&self, key: &str) -> String {
        if key.is_empty() { self.path.clone() } else { format!("{}/{key}", self.path) }
    }
}

/// What may not stand in a path is escaped; what is escaped already stays.
fn escaped(piece: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
    escape(piece, plain)
}

/// As in a form: everything but letters, digits and `-._~`.
pub(super) fn form_escaped(text: &str) -> String {
    escape(text, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn escape(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let piece = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (text, service, path) in [
            ("http://h:1/v2/keys/_etcd/registry/t", "http://h:1", "/v2/keys/_etcd/registry/t"),
            ("HTTPS://discovery.etcd.io/t/", "https://discovery.etcd.io", "/t"),
            ("http://[::1]:1//v2//keys/a b?x#y", "http://[::1]:1", "/v2/keys/a%20b"),
            ("http://h", "http://h", ""),
        ] {
            let token = Token::parse(text).expect("valid");
            assert_eq!((token.service(), token.path("").as_str()), (service, path), "{text}");
        }
        assert_eq!(Token::parse("http://h/t").expect("valid").path("_config/size"), "/t/_config/size");
    }

    #[test]
    fn what_is_no_url_is_refused_in_the_words_of_go() {
        for (text, want) in [
            (":bad%", "parse \":bad%\": missing protocol scheme"),
            ("http://h:p/t", "parse \"http://h:p/t\": invalid port \":p\" after host"),
            ("h/v2/keys/t", "unsupported protocol scheme \"\""),
            ("ftp://h/t", "unsupported protocol scheme \"ftp\""),
            ("http:///v2/keys/t", "http: no Host in request URL"),
            ("http://u:p@h/t", "uetcd sends no user and password to a discovery service"),
        ] {
            assert_eq!(Token::parse(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_form_holds_any_text() {
        assert_eq!(form_escaped("a=http://h:1,b c"), "a%3Dhttp%3A%2F%2Fh%3A1%2Cb%20c");
    }
}
