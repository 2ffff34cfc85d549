//! A finished response of everything that is not the key space.

use net::http::response::{Head, content_type};
use net::http::status::Status;

/// How the body is labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No body, and nothing said of it.
    Nothing,
    /// `application/json`.
    Json,
    /// `application/json; charset=utf-8`, as Go's expvar sends it.
    JsonUtf8,
    /// Plain text whose type etcd leaves for Go to detect: it stands behind the length on the wire.
    Sniffed,
    /// Plain text with `X-Content-Type-Options: nosniff`: Go's error pages.
    Error,
    /// Prometheus text.
    Metrics,
}

/// Status, what the headers say, and the body.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) kind: Kind,
    /// `X-Etcd-Cluster-Id` is sent.
    pub(crate) cluster_id: bool,
    /// `Allow`, with a 405.
    pub(crate) allow: Option<&'static str>,
    pub(crate) body: Vec<u8>,
}

impl Page {
    pub(crate) fn new(status: u16, kind: Kind, body: Vec<u8>) -> Self {
        Self { status, kind, cluster_id: false, allow: None, body }
    }

    /// A JSON document of `/v2/members`, which names the cluster.
    pub(crate) fn of_cluster(status: u16, body: Vec<u8>) -> Self {
        Self { cluster_id: true, ..Self::new(status, Kind::Json, body) }
    }

    /// `{"message":"…"}` of `/v2/members`.
    pub(crate) fn message(status: u16, text: &str) -> Self {
        Self::of_cluster(status, crate::http::message_body(text))
    }

    /// The head, without what only the sender knows.
    pub(crate) fn head(&self) -> Head<'static> {
        let status = Status::from_code(self.status).unwrap_or(Status::InternalServerError);
        let head = match self.kind {
            Kind::Nothing => Head::new(status),
            Kind::Json => Head::json(status),
            Kind::JsonUtf8 => Head::new(status).content_type(content_type::JSON_UTF8),
            Kind::Sniffed => Head::new(status).sniffed_type(content_type::TEXT),
            Kind::Error => Head::plain_error(status),
            Kind::Metrics => Head::new(status).content_type(content_type::METRICS),
        };
        match self.allow {
            Some(methods) => head.allow(methods),
            None => head,
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, Kind::Error, b"404 page not found\n".to_vec())
    }

    pub(crate) fn method_not_allowed(allow: Option<&'static str>) -> Self {
        Self { allow, ..Self::new(405, Kind::Error, b"Method Not Allowed\n".to_vec()) }
    }

    /// 204 without any body.
    pub(crate) fn no_content(cluster_id: bool) -> Self {
        Self { cluster_id, ..Self::new(204, Kind::Nothing, Vec::new()) }
    }
}
