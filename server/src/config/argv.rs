//! The command line, from Go's forms to those of clap.
//!
//! Go takes one dash or two, a boolean's value only after `=`, stops at the first argument that is not a flag, lets the
//! last of several win, and reports the *first* fault in the order of the arguments. [`canonical`] turns what it can
//! into `--name=value`, and says where and why it stopped; clap then checks the values. So a bad value before the stop
//! is found before what is wrong at the stop, as Go would.

use super::flags;

/// The arguments up to the first that Go would not go on after.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Canonical {
    /// One `--name=value` for each flag.
    pub(crate) flags: Vec<String>,
    /// Why there are no more.
    pub(crate) end: End,
}

/// Why the command line ends here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All arguments were flags.
    Complete,
    /// `-h` or `--help`.
    Help,
    /// Something that Go's parser refuses, in its words.
    Fault(String),
    /// An argument that is not a flag.
    Stray(String),
}

/// Reads the arguments behind the program's name.
pub(crate) fn canonical(args: &[String]) -> Canonical {
    let mut flags = Vec::new();
    let mut rest = args.iter();
    let end = loop {
        let Some(arg) = rest.next() else { break End::Complete };
        if arg == "--" {
            break rest.next().map_or(End::Complete, |stray| End::Stray(stray.clone()));
        }
        let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) else { break End::Stray(arg.clone()) };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() || body.starts_with(['-', '=']) {
            break End::Fault(format!("bad flag syntax: {arg}"));
        }
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        let Some(flag) = flags::find(name) else {
            break match name {
                "help" | "h" => End::Help,
                _ => End::Fault(format!("flag provided but not defined: -{name}")),
            };
        };
        let value = match value {
            Some(value) => Some(value),
            None if flag.kind.is_bool() => Some("true"),
            None => rest.next().map(String::as_str),
        };
        match value {
            Some(value) => flags.push(format!("--{name}={value}")),
            None => break End::Fault(format!("flag needs an argument: -{name}")),
        }
    };
    Canonical { flags, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row was tried on etcd 3.4.23, whose parser is the same.
    #[test]
    fn the_forms_of_go_are_understood() {
        let fault = |text: &str| End::Fault(text.to_owned());
        let stray = |text: &str| End::Stray(text.to_owned());
        for (args, want_flags, want_end) in [
            ("-name a", vec!["--name=a"], End::Complete),
            ("--name a -data-dir=b", vec!["--name=a", "--data-dir=b"], End::Complete),
            ("--name=a=b", vec!["--name=a=b"], End::Complete),
            ("--name=", vec!["--name="], End::Complete),
            ("--name --debug", vec!["--name=--debug"], End::Complete),
            ("--debug", vec!["--debug=true"], End::Complete),
            ("--debug=0", vec!["--debug=0"], End::Complete),
            ("--debug false", vec!["--debug=true"], stray("false")),
            ("--force --name x", vec!["--force=true", "--name=x"], End::Complete),
            ("--name a --name b", vec!["--name=a", "--name=b"], End::Complete),
            ("--name a stray --foo", vec!["--name=a"], stray("stray")),
            ("-", vec![], stray("-")),
            ("--", vec![], End::Complete),
            ("-- --name", vec![], stray("--name")),
            ("---name x", vec![], fault("bad flag syntax: ---name")),
            ("-=x", vec![], fault("bad flag syntax: -=x")),
            ("--=x", vec![], fault("bad flag syntax: --=x")),
            ("--foo", vec![], fault("flag provided but not defined: -foo")),
            ("--foo=bar", vec![], fault("flag provided but not defined: -foo")),
            ("--name a --name", vec!["--name=a"], fault("flag needs an argument: -name")),
            ("--name a --help --foo", vec!["--name=a"], End::Help),
            ("-h", vec![], End::Help),
            ("--foo -h", vec![], fault("flag provided but not defined: -foo")),
        ] {
            let args_list: Vec<String> = args.split(' ').map(str::to_owned).collect();
            let want = Canonical { flags: want_flags.into_iter().map(str::to_owned).collect(), end: want_end };
            assert_eq!(canonical(&args_list), want, "{args}");
        }
        assert_eq!(canonical(&[String::new()]).end, stray(""));
    }
}
