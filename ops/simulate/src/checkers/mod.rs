//! What is checked, by observers that see all of the cluster.
//!
//! | checker | holds |
//! |---|---|
//! | `truth` | I1 to I5 after every step: one order, what is shown and what is acknowledged |
//! | `watcher` | I6: a list and a watch on everything, on every node |
//! | `past` | watches that begin in the past: nothing of it is missing |
//! | `history` | the answers and reads of clients, against one sequential run of the commands |

mod history;
mod past;
mod truth;
mod watcher;

pub(crate) use history::{Answered, History, Read};
pub(crate) use past::Past;
pub(crate) use truth::{Mirror, Truth};
pub(crate) use watcher::Watcher;
