//! HTTP/1.1: requests in, responses out, and the reverse for our own clients.

pub mod chunk;
pub mod client;
pub mod date;
pub mod reject;
pub mod relay;
pub mod request;
pub mod response;
pub mod status;

mod head;
mod incoming;
mod syntax;
mod uri;
