//! One of the source's events, and what is left of the time that it gives.
//!
//! An event from the history tells the whole time that its node got, and when that ends on the source's clock. `Date` says what the source's clock
//! shows, so no other clock has to agree with it.

use std::time::Instant;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::life::Witness;
use crate::client::{Node, Response};

#[derive(Debug)]
pub(super) struct Event {
    response: Response,
    heard: Instant,
    /// What was left when it was heard: seconds, `None` without an end.
    ttl: Option<i64>,
}

impl Event {
    /// An event that has just come.
    pub(super) fn new(response: Response) -> Self {
        let ttl = left(&response.node, response.date);
        Self { response, heard: Instant::now(), ttl }
    }

    /// About as many as it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.response.bytes()
    }

    pub(super) fn node(&self) -> &Node {
        &self.response.node
    }

    pub(super) fn index(&self) -> u64 {
        self.response.node.modified_index
    }

    /// Whether it takes its node away.
    pub(super) fn is_removal(&self) -> bool {
        is_removal(&self.response.action)
    }

    /// What it tells of the source's life.
    pub(super) fn witness(&self) -> Witness {
        Witness::new(self.node(), self.is_removal())
    }

    /// Seconds that its node has to live, as far as this event knows; none are left when they are over. `None` without an end.
    pub(super) fn ttl(&self) -> Option<i64> {
        self.ttl.map(|ttl| ttl.saturating_sub(self.heard.elapsed().as_secs().cast_signed()))
    }
}

/// Whether an action takes its node away.
pub(super) fn is_removal(action: &str) -> bool {
    matches!(action, "delete" | "expire" | "compareAndDelete")
}

/// The answer to a watch begins when the watch does, so `date` may be long ago, but then the event is new.
fn left(node: &Node, date: Option<OffsetDateTime>) -> Option<i64> {
    if node.ttl == 0 && node.expiration.is_none() {
        return None;
    }
    let end = node.expiration.as_ref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let by_clock = end.zip(date).map(|(end, date)| (end - date).as_seconds_f64().ceil() as i64);
    Some(by_clock.map_or(node.ttl, |seconds| seconds.min(node.ttl)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_by_the_source_alone() {
        let expiration = Some("2031-01-01T00:01:00.25Z".to_owned());
        let leased = Node { ttl: 60, expiration, ..Node::default() };
        for (name, date, want) in [
            ("just now", "2031-01-01T00:00:00Z", 60),
            ("asked for long before", "2030-12-01T00:00:00Z", 60),
            ("from the history", "2031-01-01T00:00:40Z", 21),
            ("over", "2031-01-01T00:02:00Z", -59),
        ] {
            let date = OffsetDateTime::parse(date, &Rfc3339).expect("a date");
            assert_eq!(left(&leased, Some(date)), Some(want), "{name}");
        }
        assert_eq!(left(&leased, None), Some(60));
        let unreadable = Node { expiration: Some("soon".into()), ..leased };
        assert_eq!(left(&unreadable, Some(OffsetDateTime::UNIX_EPOCH)), Some(60));
        assert_eq!(left(&Node::default(), Some(OffsetDateTime::UNIX_EPOCH)), None);
    }
}
