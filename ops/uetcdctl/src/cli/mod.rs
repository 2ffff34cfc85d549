//! From the words of a command line to an [`Invocation`], or to the answer that ends the program at once.
//!
//! etcdctl's command line is Go's: `-timeout` and `--timeout` are the same, flags may follow the key, and a wrong word prints help on standard
//! output. clap can not be taught that, so the flags are read here; clap writes the completions ([`completions`]).

mod arguments;
pub(crate) mod completions;
mod duration;
mod flags;
mod help;
mod parse;
mod spec;
mod table;
mod word;

pub(crate) use arguments::Values;
pub(crate) use parse::{Invocation, parse};
pub(crate) use spec::{Manner, Task};
pub(crate) use word::Word;
