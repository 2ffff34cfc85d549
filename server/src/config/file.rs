//! `--config-file`: YAML with the names of the flags as keys, as etcd 3.4 reads it, but an unknown key is refused.

use std::io;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::Exit;
use super::command::Values;
use super::flags::{self, Effect, Flag};
use super::value::{Kind, quote};

/// The two nested sections: their name and what their keys have in front as flags.
const SECTIONS: &[(&str, &str)] = &[("client-transport-security", ""), ("peer-transport-security", "peer-")];

/// Flags that mean nothing inside a file.
const NOT_IN_FILE: &[&str] = &["config-file", "version"];

/// Reads the file and sets what it says. A key without a value leaves the default.
pub(crate) fn apply(
    path: &Path,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
    values: &mut Values,
) -> Result<(), Exit> {
    let shown = path.display();
    let text = read_file(path).map_err(|error| Exit::verifying(&format!("open {shown}: {}", reason(&error))))?;
    for (key, value) in parse(&text)? {
        let section = SECTIONS.iter().find(|(name, _)| *name == key);
        match (section, value) {
            (Some((section, prefix)), Json::Object(inner)) => {
                for (key, value) in inner {
                    let name = flag_in_section(prefix, &key);
                    set(values, &name, &value).map_err(|fault| fault.exit(&format!("{section}.{key}"), path))?;
                }
            }
            (Some(_), Json::Null) => {}
            (_, value) => set(values, &key, &value).map_err(|fault| fault.exit(&key, path))?,
        }
    }
    Ok(())
}

/// Sections say `cert-file` for `--cert-file` and `--peer-cert-file`; only the client's revocation list and host name
/// carry their own prefix as flags.
fn flag_in_section(prefix: &str, key: &str) -> String {
    let name = format!("{prefix}{key}");
    if flags::find(&name).is_none() && prefix.is_empty() { format!("client-{key}") } else { name }
}

fn parse(text: &str) -> Result<Map<String, Json>, Exit> {
    let bad = |reason: &str| Exit::verifying(&format!("error converting YAML to JSON: yaml: {reason}"));
    // Else `proxy: off` and a member called `no` would be booleans.
    let options = serde_saphyr::options! { strict_booleans: true };
    // The first line says it all; the others draw the place, which a log line cannot.
    let parsed = serde_saphyr::from_str_with_options::<Option<Map<String, Json>>>(text, options);
    parsed.map(Option::unwrap_or_default).map_err(|error| bad(error.to_string().lines().next().unwrap_or_default()))
}

/// What is wrong with one key.
enum Fault {
    Unknown,
    NotScalar,
    /// The kind of the flag and the reason.
    Value(Kind, String),
}

impl Fault {
    fn exit(&self, key: &str, path: &Path) -> Exit {
        let file = path.display();
        match self {
            Self::Unknown => Exit::verifying(&format!("unknown key {} in {file}", quote(key))),
            Self::NotScalar => Exit::verifying(&format!("the value of {} in {file} must be one text", quote(key))),
            // etcd prints this one without the form of its log.
            Self::Value(Kind::Urls | Kind::UrlsOrNone, reason) => {
                Exit { status: 1, stderr: format!("unexpected error setting up {key}: {reason}\n"), ..Exit::default() }
            }
            Self::Value(_, reason) => Exit::verifying(&format!("invalid value of {} in {file}: {reason}", quote(key))),
        }
    }
}

fn set(values: &mut Values, key: &str, value: &Json) -> Result<(), Fault> {
    let usable = |flag: &&Flag| flag.effect != Effect::Withdrawn && !NOT_IN_FILE.contains(&flag.name);
    let flag = flags::find(key).filter(usable).ok_or(Fault::Unknown)?;
    let text = scalar(value)?.map(|text| yaml_1_1(flag.kind, text));
    // An empty list of URLs leaves the default, too.
    if let Some(text) = text.filter(|text| flag.kind != Kind::Urls || !text.is_empty()) {
        let value = flag.kind.parse(flag.name, &text).map_err(|reason| Fault::Value(flag.kind, reason))?;
        values.set(flag.name, value);
    }
    Ok(())
}

/// The booleans that only YAML 1.1 has, which etcd's reader still takes for such.
fn yaml_1_1(kind: Kind, text: String) -> String {
    if kind != Kind::Bool {
        return text;
    }
    match text.as_str() {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => "true".to_owned(),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => "false".to_owned(),
        _ => text,
    }
}

/// The text of a scalar, or of a list of them joined with commas; `None` for nothing.
fn scalar(value: &Json) -> Result<Option<String>, Fault> {
    match value {
        Json::Null => Ok(None),
        Json::Bool(value) => Ok(Some(value.to_string())),
        Json::Number(value) => Ok(Some(value.to_string())),
        Json::String(value) => Ok(Some(value.clone())),
        Json::Array(items) => {
            let texts = items.iter().map(scalar).collect::<Result<Option<Vec<_>>, _>>()?;
            texts.map(|texts| Some(texts.join(","))).ok_or(Fault::NotScalar)
        }
        Json::Object(_) => Err(Fault::NotScalar),
    }
}

/// The reason alone, as Go prints it.
fn reason(error: &io::Error) -> String {
    super::go_reason(error)
}
