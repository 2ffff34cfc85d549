//! What the machine must offer before the server can run: each check says in one line what is missing and what to do.
//!
//! These run after the configuration is read and logging is on, in this order: [`io_uring`], [`locked_memory`],
//! [`role()`], [`descriptors`], [`ports()`], [`directory()`], [`member_directories`].

mod directory;
mod limits;
mod ports;

pub(crate) use directory::{Role, directory, make, member_directories, proxy_directory, role, unmake};
pub(crate) use limits::{cpus, descriptors, io_uring, locked_memory};
pub(crate) use ports::{ports, proxy_ports};
