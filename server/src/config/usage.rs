//! What `--help` and `--version` print.

use std::fmt::Write as _;

use super::ETCD_VERSION;
use super::flags::{Effect, Flag, GROUPS};
use super::value::Kind;

/// This server's own version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const SHORT: &str = "\
usage: uetcd [flags]
       start an etcd server

       uetcd --version
       show the version of etcd

       uetcd -h | --help
       show the help information about etcd

       uetcd --config-file FILE
       start with the flags in this YAML file
";

/// The four lines of `--version` and of the start banner. The first is what scripts read, so it names the etcd that
/// this server stands in for; its own version is in the two after it.
pub(crate) fn version_lines() -> [String; 4] {
    [
        format!("etcd Version: {ETCD_VERSION}"),
        format!("Git SHA: uetcd-{VERSION}"),
        format!("Go Version: none (uetcd {VERSION}, rust)"),
        format!("Go OS/Arch: {}/{}", std::env::consts::OS, go_arch()),
    ]
}

/// The text of `--version`.
pub(crate) fn version() -> String {
    version_lines().map(|line| line + "\n").concat()
}

/// What is printed after a command line that could not be parsed.
pub(crate) fn short() -> String {
    SHORT.to_owned()
}

/// The text of `--help`: every flag with its default.
pub(crate) fn help() -> String {
    let mut text = format!("{SHORT}\n");
    for group in GROUPS {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{} flags:\n\n", group.title);
        for flag in group.flags {
            let _ = write!(text, "\t--{}{}\n\t\t{}\n", flag.name, shown_default(flag), flag.help);
        }
        text.push('\n');
    }
    text
}

fn shown_default(flag: &Flag) -> String {
    match (flag.effect, flag.kind) {
        (Effect::Withdrawn, _) => String::new(),
        (_, Kind::Uint | Kind::Int) => format!(" {}", flag.default),
        _ => format!(" '{}'", flag.default),
    }
}

/// The architecture in Go's words.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_has_the_four_lines_of_etcd() {
        let text = version();
        let starts = ["etcd Version: 2.3.8", "Git SHA: uetcd-", "Go Version: none (uetcd ", "Go OS/Arch: linux/"];
        assert_eq!(text.lines().count(), starts.len());
        for (line, start) in text.lines().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn help_names_every_flag() {
        let text = help();
        for flag in super::super::flags::all() {
            assert!(text.contains(&format!("\t--{}", flag.name)), "{}", flag.name);
        }
        assert!(text.contains("\t--heartbeat-interval 100\n\t\ttime (in milliseconds) of a heartbeat interval.\n"));
        assert!(text.contains("\t--name 'default'\n"));
    }
}
