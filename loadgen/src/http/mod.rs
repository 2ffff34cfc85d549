//! HTTP/1.1 from the client's side, without an allocation per request.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod request;

pub(crate) use answer::{Answer, AnswerReader, Malformed, Progress};
pub(crate) use request::RequestWriter;
