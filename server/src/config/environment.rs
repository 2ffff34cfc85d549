//! `ETCD_*` variables, by the rules of etcd 2.3: a flag wins over its variable, an empty variable is none, and
//! everything about it is logged.

use std::ffi::OsString;

use super::Exit;
use super::command::Values;
use super::flags::{self, Flag};
use super::value::{Kind, quote};
use crate::logging::{LogLine, Severity};

/// What the variables of all flags begin with.
const PREFIX: &str = "ETCD_";

/// Asked for by etcd on anything but amd64, where it does not start without; here every architecture is as good.
const UNSUPPORTED_ARCH: &str = "ETCD_UNSUPPORTED_ARCH";

/// The variables that may concern us, as texts. A value that is not UTF-8 is shown with replacement characters.
pub(crate) fn texts(env: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    env.into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

/// Sets what no flag has set. Flags are gone through by name, as etcd does, so the first bad value is always the same.
pub(crate) fn apply(env: &[(String, String)], values: &mut Values, log: &mut Vec<LogLine>) -> Result<(), Exit> {
    let mut by_name: Vec<(String, &'static Flag)> = flags::all().map(|flag| (variable(flag.name), flag)).collect();
    by_name.sort_unstable_by_key(|(_, flag)| flag.name);
    let mut used = Vec::new();
    let mut shadowed = Vec::new();
    for (name, flag) in &by_name {
        if values.is_set(flag.name) {
            shadowed.push(name.as_str());
            continue;
        }
        let Some((_, text)) = env.iter().find(|(key, text)| key == name && !text.is_empty()) else { continue };
        let value = flag.kind.parse(flag.name, text).map_err(|reason| {
            Exit::critical("etcdmain", format!("invalid value {} for {name}: {reason}", quote(text)))
        })?;
        log.push(line(Severity::Info, format!("recognized and used environment variable {name}={text}")));
        if flag.kind == Kind::Ignored {
            log.push(withdrawn_line(flag.name));
        }
        values.set(flag.name, value);
        used.push(name.as_str());
    }
    log.extend(env.iter().filter_map(|(name, text)| match name.as_str() {
        UNSUPPORTED_ARCH => None,
        name if used.contains(&name) => None,
        name if shadowed.contains(&name) => Some(line(
            Severity::Info,
            format!("recognized environment variable {name}, but unused: shadowed by corresponding flag "),
        )),
        name => Some(line(Severity::Warning, format!("unrecognized environment variable {name}={text}"))),
    }));
    Ok(())
}

/// What is said of a flag of etcd 0.4.
pub(crate) fn withdrawn_line(flag: &str) -> LogLine {
    line(Severity::Warning, format!("flag \"-{flag}\" is no longer supported - ignoring."))
}

fn line(severity: Severity, text: String) -> LogLine {
    LogLine::new(severity, "flags", text)
}

fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}
