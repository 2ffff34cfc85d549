//! From the command line, the environment and the file to a [`Config`](super::Config) or an [`Exit`]. The order of the
//! steps is etcd's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::argv::{End, canonical};
use super::flags::{self, Flag};
use super::value::{Kind, Value, quote};
use super::{Exit, Outcome, environment, file, resolve, usage};
use crate::logging::{LogLine, Severity};

/// What reading the configuration may ask of the machine.
pub(crate) struct Machine<'a> {
    /// Reads the configuration file.
    pub(crate) read_file: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The CPUs that this process may use, growing; not empty.
    pub(crate) cpus: &'a [usize],
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody set it.
    Default,
    /// A flag, a variable or the file.
    Set,
}

/// The value of every flag.
#[derive(Debug)]
pub(crate) struct Values(BTreeMap<&'static str, (Value, Source)>);

impl Values {
    fn of_defaults() -> Self {
        let default = |flag: &Flag| flag.kind.parse(flag.name, flag.default).map(|value| (value, Source::Default));
        // Withdrawn flags have no value at all.
        Self(flags::all().filter_map(|flag| default(flag).ok().map(|value| (flag.name, value))).collect())
    }

    /// Sets one.
    pub(crate) fn set(&mut self, name: &'static str, value: Value) {
        self.0.insert(name, (value, Source::Set));
    }

    /// Whether anyone set it, were it to its default.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|(_, source)| *source == Source::Set)
    }

    /// The value of a flag of the table.
    pub(crate) fn get(&self, name: &str) -> &Value {
        self.0.get(name).map_or_else(|| panic!("the table has no flag {name}"), |(value, _)| value)
    }

    /// The value of a boolean flag.
    pub(crate) fn bool(&self, name: &str) -> bool {
        let Value::Bool(value) = self.get(name) else { panic!("{name} is not a boolean") };
        *value
    }

    /// The value of an integer flag.
    pub(crate) fn uint(&self, name: &str) -> u64 {
        let Value::Uint(value) = self.get(name) else { panic!("{name} is not an integer") };
        *value
    }

    /// The value of a textual flag.
    pub(crate) fn text(&self, name: &str) -> &str {
        let Value::Text(value) = self.get(name) else { panic!("{name} is not a text") };
        value
    }
}

/// Reads the configuration. `args` are those behind the program's name; `env` is the whole environment.
pub(crate) fn load(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    machine: &Machine<'_>,
) -> Outcome {
    let env = environment::texts(env);
    read(args, &env, machine).unwrap_or_else(Outcome::Exit)
}

fn read(
    args: impl IntoIterator<Item = OsString>,
    env: &[(String, String)],
    machine: &Machine<'_>,
) -> Result<Outcome, Exit> {
    let args = args.into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>().map_err(|arg| {
        let shown = quote(&arg.to_string_lossy());
        parse_fault(&format!("argument {shown} is not valid UTF-8"))
    })?;
    let given = canonical(&args);
    let matches = command().try_get_matches_from(&given.flags).map_err(|error| {
        let fault = value_fault(&error);
        let before = given.flags.iter().take_while(|flag| **flag != fault.given);
        parse_fault(&fault.text).after(&withdrawn_lines(before))
    })?;
    let mut log = withdrawn_lines(&given.flags);
    let ends = |exit: Exit| exit.after(&log);
    match given.end {
        End::Complete => {}
        End::Help => return Err(ends(Exit { stdout: usage::help(), ..Exit::default() })),
        End::Fault(text) => return Err(ends(parse_fault(&text))),
        End::Stray(arg) => return Err(ends(Exit::verifying(&format!("'{arg}' is not a valid flag")))),
    }
    let mut values = Values::of_defaults();
    take_matches(&matches, &mut values);
    if values.bool("version") {
        return Err(ends(Exit { stdout: usage::version(), ..Exit::default() }));
    }
    match config_file(&values, env) {
        Some(path) => {
            log.push(LogLine::new(Severity::Info, "etcdmain", format!(
                "Loading server configuration from {}. Other configuration command line flags and environment variables \
                 will be ignored if provided.",
                quote(&path)
            )));
            values = Values::of_defaults();
            file::apply(Path::new(&path), machine.read_file, &mut values).map_err(|exit| exit.after(&log))?;
        }
        None => environment::apply(env, &mut values, &mut log).map_err(|exit| exit.after(&log))?,
    }
    resolve::config(&values, machine, log).map(|config| Outcome::Run(Box::new(config)))
}

/// The file to read instead of everything else.
fn config_file(values: &Values, env: &[(String, String)]) -> Option<String> {
    let from_env = || env.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE").map(|(_, path)| path.clone());
    Some(values.text("config-file").to_owned())
        .filter(|path| !path.is_empty())
        .or_else(from_env)
        .filter(|path| !path.is_empty())
}

/// The flags as clap knows them: one option for each, the last occurrence wins, and nothing that Go would not do.
fn command() -> Command {
    let arg = |flag: &'static Flag| {
        Arg::new(flag.name)
            .long(flag.name)
            .action(ArgAction::Set)
            .overrides_with(flag.name)
            .require_equals(true)
            .value_parser(StringValueParser::new().try_map(move |text| flag.kind.parse(flag.name, &text)))
    };
    Command::new("uetcd")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(flags::all().map(arg))
}

fn take_matches(matches: &ArgMatches, values: &mut Values) {
    for flag in flags::all() {
        if let Some(value) = matches.get_one::<Value>(flag.name) {
            values.set(flag.name, value.clone());
        }
    }
}

/// What clap found.
struct ValueFault {
    /// The flag as [`canonical`] has it.
    given: String,
    /// In Go's words.
    text: String,
}

fn value_fault(error: &clap::Error) -> ValueFault {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    // The context names the argument as `--name=<name>`.
    let name = context(ContextKind::InvalidArg).trim_start_matches('-');
    let name = name.split('=').next().unwrap_or(name);
    let value = context(ContextKind::InvalidValue);
    let given = format!("--{name}={value}");
    let value = quote(value);
    let reason = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
    let text = match (error.kind(), flags::find(name)) {
        (ErrorKind::ValueValidation, Some(Flag { kind: Kind::Bool, .. })) => {
            format!("invalid boolean value {value} for -{name}: {reason}")
        }
        (ErrorKind::ValueValidation, Some(_)) => format!("invalid value {value} for flag -{name}: {reason}"),
        _ => error.to_string(),
    };
    ValueFault { given, text }
}

fn parse_fault(text: &str) -> Exit {
    Exit { status: 2, stdout: usage::short(), stderr: format!("{text}\n"), ..Exit::default() }
}

/// One line for each flag of etcd 0.4, in the order given.
fn withdrawn_lines<'a>(given: impl IntoIterator<Item = &'a String>) -> Vec<LogLine> {
    let name = |arg: &String| arg.trim_start_matches('-').split('=').next().and_then(flags::find);
    let withdrawn = given.into_iter().filter_map(name).filter(|flag| flag.kind == Kind::Ignored);
    withdrawn.map(|flag| environment::withdrawn_line(flag.name)).collect()
}

#[cfg(test)]
pub(super) mod tests;
