//! What a proxy counts, under etcd's names.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ProcessStats;
use super::cell::{Counter, Gauge, HTTP_BOUNDS, Histogram};
use super::export::process_stats;
use super::text::{Kind, Page};

/// Why a request was not answered by a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dropped {
    /// There was nobody to ask.
    ZeroEndpoints,
    /// A member could not be asked.
    FailedSending,
    /// Nobody that was asked has answered.
    FailedGettingResponse,
}

impl Dropped {
    const fn text(self) -> &'static str {
        match self {
            Self::ZeroEndpoints => "zero_endpoints",
            Self::FailedSending => "failed_sending_request",
            Self::FailedGettingResponse => "failed_getting_response",
        }
    }
}

/// The part of one executor. Methods are those of [`method`].
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyMetrics {
    /// Requests that were to be sent on.
    requests: BTreeMap<&'static str, Counter>,
    /// Those that a member answered, with its status.
    handled: BTreeMap<(u16, &'static str), Counter>,
    /// Those that none did.
    dropped: BTreeMap<(&'static str, Dropped), Counter>,
    /// From the whole request to the head of its answer.
    durations: BTreeMap<&'static str, Histogram>,
    /// Client connections open now.
    pub(crate) connections: Gauge,
    /// Client connections accepted.
    pub(crate) accepted: Counter,
    /// Client connections that could not be accepted.
    pub(crate) refused: Counter,
    /// Requests that were not well-formed HTTP, or exceeded a limit.
    pub(crate) malformed: Counter,
}

/// The label of a method. etcd takes whatever a client sends, and remembers it for ever.
pub(crate) fn method(method: net::http::request::Method<'_>) -> &'static str {
    use net::http::request::Method as Http;
    match method {
        Http::Get => "GET",
        Http::Head => "HEAD",
        Http::Put => "PUT",
        Http::Post => "POST",
        Http::Delete => "DELETE",
        Http::Options => "OPTIONS",
        Http::Connect => "CONNECT",
        Http::Trace => "TRACE",
        Http::Other(_) => "other",
    }
}

impl ProxyMetrics {
    /// A request is to be sent on.
    pub(crate) fn request(&mut self, method: &'static str) {
        self.requests.entry(method).or_default().inc();
    }

    /// A member has answered.
    pub(crate) fn handled(&mut self, method: &'static str, status: u16, took: Duration) {
        self.handled.entry((status, method)).or_default().inc();
        self.durations.entry(method).or_insert_with(|| Histogram::new(HTTP_BOUNDS)).observe(took.as_secs_f64());
    }

    /// A request, or one attempt, was in vain.
    pub(crate) fn dropped(&mut self, method: &'static str, why: Dropped) {
        self.dropped.entry((method, why)).or_default().inc();
    }

    /// Adds the part of another executor.
    pub(crate) fn absorb(&mut self, other: &Self) {
        let Self { requests, handled, dropped, durations, connections, accepted, refused, malformed } = other;
        for (method, count) in requests {
            self.requests.entry(method).or_default().absorb(*count);
        }
        for (labels, count) in handled {
            self.handled.entry(*labels).or_default().absorb(*count);
        }
        for (labels, count) in dropped {
            self.dropped.entry(*labels).or_default().absorb(*count);
        }
        for (method, histogram) in durations {
            self.durations.entry(method).or_insert_with(|| Histogram::new(HTTP_BOUNDS)).absorb(histogram);
        }
        self.connections.absorb(*connections);
        self.accepted.absorb(*accepted);
        self.refused.absorb(*refused);
        self.malformed.absorb(*malformed);
    }
}

/// Writes a proxy's page for `/metrics`. `endpoints`: how many members can be asked now.
pub(crate) fn encode_proxy(total: &ProxyMetrics, endpoints: usize, process: &ProcessStats) -> Vec<u8> {
    let mut page = Page::default();
    let mut requests = page.metric("etcd_proxy_requests_total", Kind::Counter, "Counter requests incoming by method.");
    for (method, count) in &total.requests {
        requests.labelled(&[("method", method)], count.get());
    }
    let help = "Counter of requests fully handled (by authoratitave servers)";
    let mut handled = page.metric("etcd_proxy_handled_total", Kind::Counter, help);
    for ((code, method), count) in &total.handled {
        handled.labelled(&[("code", code), ("method", method)], count.get());
    }
    let mut dropped =
        page.metric("etcd_proxy_dropped_total", Kind::Counter, "Counter of requests dropped on the proxy.");
    for ((method, why), count) in &total.dropped {
        dropped.labelled(&[("method", method), ("proxying_error", &why.text())], count.get());
    }
    let help = "Bucketed histogram of handling time of successful events (non-watches), by method (GET/PUT etc.).";
    let mut durations = page.metric("etcd_proxy_handling_duration_seconds", Kind::Histogram, help);
    for (method, histogram) in &total.durations {
        durations.histogram(&[("method", method)], histogram);
    }
    let mut value = |name, kind, help, value: i64| page.metric(name, kind, help).value(value);
    let (accepted, refused) = (total.accepted.get() as i64, total.refused.get() as i64);
    value("uetcd_connections", Kind::Gauge, "Client connections open now.", total.connections.get());
    value("uetcd_connections_accepted_total", Kind::Counter, "Client connections accepted.", accepted);
    value("uetcd_connections_refused_total", Kind::Counter, "Client connections refused.", refused);
    let malformed = total.malformed.get() as i64;
    value("uetcd_http_malformed_total", Kind::Counter, "Requests that were no HTTP or above a limit.", malformed);
    value("uetcd_proxy_endpoints", Kind::Gauge, "Members that can be asked now.", endpoints as i64);
    process_stats(&mut page, process);
    page.finish()
}
