//! HTTP for the node: connections, and what each endpoint answers.

mod accept;
mod admin;
mod backup;
mod connection;
mod debug;
mod hangup;
mod keys;
mod members;
mod pages;
mod registry;
mod rounds;
mod session;
mod streaming;
mod vars;
mod watching;

pub(crate) use accept::{Served, Service, accept};
pub(crate) use connection::Opened;
pub(crate) use hangup::is_gone;
pub(crate) use pages::message_body;
pub(crate) use registry::{Registered, Registry};
pub(crate) use session::{Grant, allowed, grant};
