//! HTTP for the node: connections, and what each endpoint answers.

mod accept;
mod admin;
mod backup;
mod connection;
mod hangup;
mod keys;
mod members;
mod pages;
mod registry;
mod session;
mod streaming;
mod vars;
mod watching;

pub(crate) use accept::{Served, accept};
pub(crate) use pages::message_body;
pub(crate) use registry::Registry;
