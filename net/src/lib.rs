//! uetcd's bytes on the wire.
//!
//! Everything here is a function of the bytes given: HTTP/1.1 requests are decoded in place, a v2 request becomes a
//! plain struct, answers are written into the caller's buffer. Nothing is kept but the progress of one request, nothing
//! is looked up, and there are no sockets: who reads and writes them supplies the buffers, and the time.
//!
//! The life of a request: [`http::request::Decoder`] finds it in the input, [`target::resolve`] decodes and cleans its
//! path, [`router::client`] or [`router::peer`] says which endpoint is meant, [`keys_request::decode`] reads the
//! parameters of the key space or [`document`] a JSON body, and [`http::response::Head`] writes the answer around a body
//! made with [`json`].
//! What members say to each other is [`peer`].
//!
//! Texts, orders and limits are those of etcd 2.3 and of the Go library it is built with, because clients compare them.

pub mod decimal;
pub mod document;
pub mod form;
pub mod http;
pub mod json;
pub mod keys_request;
pub mod peer;
pub mod router;
pub mod target;

mod civil;
mod media_type;
mod percent;
mod swar;
