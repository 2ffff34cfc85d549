//! Which command a command line calls, with which flags and words.

use super::arguments::Values;
use super::flags::{self, Known, Level};
use super::help;
use super::spec::{Command, Manner, Task};
use super::table::{COMMANDS, GLOBAL_FLAGS, HELP};
use super::word::Word;

/// A command to run.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// How the program was called.
    pub manner: Manner,
    /// The flags before the command.
    pub globals: Values,
    /// The command.
    pub task: &'static Task,
    /// The flags of the command.
    pub flags: Values,
    /// The other words, without a `--` that ended the flags.
    pub words: Vec<Word>,
}

/// What ends the program without running a command: help, or what is wrong with the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Exit status.
    pub code: u8,
}

impl Answer {
    fn help(out: String) -> Self {
        Self { out, ..Self::default() }
    }

    fn misuse(line: &str, why: &str, help: &str) -> Self {
        Self { out: format!("{line}{help}"), err: format!("{why}\n"), code: 1 }
    }

    fn no_topic(topic: &str) -> Self {
        Self { err: format!("No help topic for '{topic}'\n"), code: 3, ..Self::default() }
    }
}

/// Reads the words behind the program's name.
///
/// # Errors
/// The answer to show instead, which is no error for `--help`.
pub(crate) fn parse(manner: Manner, words: &[Word]) -> Result<Invocation, Answer> {
    let misuse = |line: &str, why: &str| Answer::misuse(line, why, &help::program(manner));
    let (globals, asked, rest) = flags::parse(Level::Program, Known { flags: GLOBAL_FLAGS, own: true }, words)
        .map_err(|why| misuse(&format!("Incorrect Usage. {why}\n\n"), &why))?;
    if let Some(twice) = two_forms(&globals) {
        return Err(misuse(&format!("{twice}\n"), &twice));
    }
    if asked.version && !asked.help {
        return Err(version(manner));
    }
    let (false, Some((name, rest))) = (asked.help, rest.split_first()) else {
        return Err(Answer::help(help::program(manner)));
    };
    if is_help(name) {
        return Err(help_of(manner, rest));
    }
    if name.is_empty() {
        return Err(Answer::help(help::program_as_group(manner)));
    }
    let command = find(COMMANDS, name).ok_or_else(|| Answer::no_topic(name))?;
    match command.task {
        Task::Group(_) => in_group(manner, globals, command, rest),
        _ => call(manner, globals, command, &format!("{} {name}", manner.name()), rest),
    }
}

fn version(manner: Manner) -> Answer {
    let own = format!("uetcdctl version: {}\n", help::VERSION);
    Answer::help(match manner {
        Manner::DropIn => format!("etcdctl version: {}\nAPI version: 2\n{own}", help::ETCDCTL_VERSION),
        Manner::Own => format!("{own}API version: 2\n"),
    })
}

fn is_help(name: &str) -> bool {
    name == "help" || name == "h"
}

fn find(commands: &'static [Command], name: &str) -> Option<&'static Command> {
    commands.iter().find(|command| command.name == name)
}

fn two_forms(values: &Values) -> Option<String> {
    values.two_forms().map(|names| format!("Cannot use two forms of the same flag: {names}"))
}

/// `help`, `help COMMAND` and, where etcdctl stops at the group, `help GROUP COMMAND`.
fn help_of(manner: Manner, topics: &[Word]) -> Answer {
    let Some((topic, below)) = topics.split_first() else { return Answer::help(help::program(manner)) };
    if is_help(topic.trim_start_matches('-')) {
        // etcdctl's help of `help` leaves the name out.
        let name = if manner == Manner::DropIn { String::new() } else { format!("{} help", manner.name()) };
        return Answer::help(help::command(manner, &name, &HELP));
    }
    if topic.is_empty() {
        return Answer::help(help::program_as_group(manner));
    }
    let Some(command) = find(COMMANDS, topic) else { return Answer::no_topic(topic) };
    match (manner, &command.task, below.first()) {
        (Manner::Own, Task::Group(_), None) => Answer::help(help::group(manner, command)),
        (Manner::Own, Task::Group(_), Some(name)) => help_in_group(manner, command, name),
        _ => Answer::help(help::command(manner, &format!("{} {topic}", manner.name()), command)),
    }
}

fn help_in_group(manner: Manner, group: &'static Command, name: &str) -> Answer {
    if name.is_empty() {
        return Answer::help(help::group(manner, group));
    }
    let command = if is_help(name) { Some(&HELP) } else { find(group.members(), name) };
    command.map_or_else(
        || Answer::no_topic(name),
        |command| {
            let full = format!("{} {} {}", manner.name(), group.name, command.name);
            Answer::help(help::command(manner, &full, command))
        },
    )
}

fn in_group(manner: Manner, globals: Values, group: &'static Command, words: &[Word]) -> Result<Invocation, Answer> {
    const NONE: Known = Known { flags: &[], own: true };
    let (_, asked, rest) = flags::parse(Level::Command, NONE, words)
        .map_err(|why| Answer::misuse(&format!("Incorrect Usage. {why}\n\n"), &why, &help::group(manner, group)))?;
    let (false, Some((name, rest))) = (asked.help, rest.split_first()) else {
        return Err(Answer::help(help::group(manner, group)));
    };
    if is_help(name) {
        return Err(match rest.first() {
            None => Answer::help(help::group_as_program(manner, group)),
            Some(topic) => help_in_group(manner, group, topic),
        });
    }
    if name.is_empty() {
        return Err(Answer::help(help::group(manner, group)));
    }
    let command = find(group.members(), name).ok_or_else(|| Answer::no_topic(name))?;
    call(manner, globals, command, &format!("{} {} {name}", manner.name(), group.name), rest)
}

fn call(
    manner: Manner,
    mut globals: Values,
    command: &'static Command,
    full_name: &str,
    words: &[Word],
) -> Result<Invocation, Answer> {
    // What etcdctl takes for one more word is one for the drop-in, too.
    let known = Known { flags: command.flags, own: manner == Manner::Own || command.own };
    let help = || help::command(manner, full_name, command);
    let misuse = |why: String| Answer::misuse(&format!("Incorrect Usage: {why}\n\n"), &why, &help());
    let (flags, asked, words) = flags::parse(Level::Command, known, &flags::reorder(known, words)).map_err(misuse)?;
    if let Some(twice) = two_forms(&flags) {
        return Err(misuse(twice));
    }
    if asked.help {
        return Err(Answer::help(help()));
    }
    globals.take_over("output", &flags);
    Ok(Invocation { manner, globals, task: &command.task, flags, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Word> {
        line.split_whitespace().map(Word::from).collect()
    }

    #[test]
    fn flags_may_have_one_dash_or_two_and_follow_the_key() {
        let line = words("-timeout 3s --endpoints=http://a set k v -ttl 60");
        let call = parse(Manner::DropIn, &line).expect("a good line");
        assert_eq!(call.globals.duration("timeout"), std::time::Duration::from_secs(3));
        assert_eq!(call.globals.text("endpoints"), "http://a");
        assert_eq!(call.flags.int("ttl"), 60);
        assert_eq!(call.words, words("k v"));
    }

    #[test]
    fn misuse_is_exit_status_1_and_an_unknown_command_3() {
        for (line, code) in [
            ("", 0),
            ("--help", 0),
            ("help get", 0),
            ("get --bogus", 1),
            ("--bogus", 1),
            ("bogus", 3),
            ("member bogus", 3),
            ("-o json --version", 0),
        ] {
            assert_eq!(parse(Manner::Own, &words(line)).expect_err("an answer").code, code, "{line}");
        }
    }

    #[test]
    fn the_drop_in_hides_what_etcdctl_does_not_have() {
        for (line, word) in [("", "mirror"), ("help watch", "--since"), ("help get", "EXAMPLES")] {
            let shown = |manner| parse(manner, &words(line)).expect_err("help").out.contains(word);
            assert!(!shown(Manner::DropIn) && shown(Manner::Own), "{line}");
        }
        assert!(parse(Manner::DropIn, &words("mirror --from http://a")).is_ok(), "hidden, and there");
        assert!(parse(Manner::DropIn, &words("get -o json k")).is_err(), "no flag of etcdctl");
        let call = parse(Manner::DropIn, &words("get k -o json")).expect("as etcdctl");
        assert_eq!((call.globals.text("output"), call.words), ("simple", words("k -o json")));
    }

    #[test]
    fn every_command_has_examples_that_are_right() {
        let groups = COMMANDS.iter().flat_map(Command::members);
        for command in COMMANDS.iter().chain(groups).filter(|command| command.members().is_empty()) {
            assert!(!command.examples.is_empty(), "{}", command.name);
            for line in command.examples {
                let call = parse(Manner::Own, &words(line)).unwrap_or_else(|answer| panic!("{line}: {answer:?}"));
                assert!(std::ptr::eq(call.task, &raw const command.task), "{line}");
            }
        }
    }
}
