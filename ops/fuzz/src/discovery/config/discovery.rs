//! The registry, and the service that always gives the same answer.

#[path = "../../../../../server/src/config/discovery/registry.rs"]
mod registry;
#[path = "../../../../../server/src/config/discovery/token.rs"]
mod token;

use self::registry::{Answer, Registry, Request, Wire};
use self::token::Token;
use super::blocking::NoAnswer;

struct Always<'a>(u16, &'a [u8]);

impl Wire for Always<'_> {
    fn send(&self, _: &Request) -> Result<Answer, NoAnswer> {
        Ok(Answer { status: self.0, index: 7, body: self.1.to_vec() })
    }
}

/// Asks all that a member asks.
pub(super) fn read_registry(status: u16, body: &[u8]) {
    let token = Token::parse("http://h/v2/keys/_etcd/registry/x").expect("a good URL");
    let registry = Registry { token: &token, wire: &Always(status, body) };
    let _ = registry.size();
    if let Ok((members, _)) = registry.members() {
        for node in &members {
            let _ = registry.is_member(node);
        }
    }
    let _ = registry.register("1", "m=http://m");
    let _ = registry.next("", 7);
}
