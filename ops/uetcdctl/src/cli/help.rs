//! Help texts, laid out as etcdctl lays them out. Called by its own name, the program shows all that it has, with examples.

use super::spec::{Command, Flag, Kind, Manner};
use super::table::{COMMANDS, EXAMPLES, GLOBAL_FLAGS, HELP};

/// The etcdctl that the drop-in stands in for.
pub(super) const ETCDCTL_VERSION: &str = "3.4.23";
/// Our own.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

const HELP_ROW: (&str, &str) = ("--help, -h", "show help");

/// The help of the whole program.
pub(super) fn program(manner: Manner) -> String {
    let text =
        overview(manner, manner.name(), program_usage(manner), &program_commands(manner), &program_options(manner));
    text + &examples(manner, EXAMPLES)
}

fn program_usage(manner: Manner) -> &'static str {
    match manner {
        Manner::DropIn => "A simple command line client for etcd.",
        Manner::Own => "The command line for uetcd and any other etcd v2 server.",
    }
}

fn program_commands(manner: Manner) -> Vec<Row> {
    let mut commands = command_rows(COMMANDS, manner);
    commands.push((format!("{}, h", HELP.name), HELP.usage.into()));
    commands
}

fn program_options(manner: Manner) -> Vec<Row> {
    let mut options = flag_rows(GLOBAL_FLAGS, manner);
    options.push((HELP_ROW.0.into(), HELP_ROW.1.into()));
    options.push(("--version, -v".into(), "print the version".into()));
    options
}

/// What `help` shows inside a group, where etcdctl takes the group for a program of its own.
pub(super) fn group_as_program(manner: Manner, group: &Command) -> String {
    let name = format!("{} {}", manner.name(), group.name);
    let rows = command_rows(group.members(), manner);
    overview(manner, &name, group.usage, &rows, &[(HELP_ROW.0.into(), HELP_ROW.1.into())])
}

/// What an empty word shows, which calls no command: the program, laid out as a group.
pub(super) fn program_as_group(manner: Manner) -> String {
    grouped(manner.name(), program_usage(manner), &program_commands(manner), &program_options(manner))
}

fn overview(manner: Manner, name: &str, usage: &str, commands: &[Row], options: &[Row]) -> String {
    let version = if manner == Manner::DropIn { ETCDCTL_VERSION } else { VERSION };
    format!(
        "NAME:\n   {name} - {usage}\n\nUSAGE:\n   {name} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {version}\n\nCOMMANDS:\n{}\nGLOBAL OPTIONS:\n{}",
        table(commands),
        table(options)
    )
}

/// The help of a group.
pub(super) fn group(manner: Manner, group: &Command) -> String {
    let name = format!("{} {}", manner.name(), group.name);
    let commands = command_rows(group.members(), manner);
    let text = grouped(&name, group.usage, &commands, &[(HELP_ROW.0.into(), HELP_ROW.1.into())]);
    let lines: Vec<_> = group.members().iter().flat_map(|command| command.examples).copied().collect();
    text + &examples(manner, &lines)
}

fn grouped(name: &str, usage: &str, commands: &[Row], options: &[Row]) -> String {
    format!(
        "NAME:\n   {name} - {usage}\n\nUSAGE:\n   {name} command [command options] [arguments...]\n\n\
         COMMANDS:\n{}\nOPTIONS:\n{}   \n",
        table(commands),
        table(options)
    )
}

/// The help of a command, whose full name is `name`.
pub(super) fn command(manner: Manner, name: &str, command: &Command) -> String {
    let rows = flag_rows(command.flags, manner);
    let options_word = if rows.is_empty() { "" } else { " [command options]" };
    let arguments = if command.arguments.is_empty() { "[arguments...]" } else { command.arguments };
    let mut text = format!("NAME:\n   {name} - {}\n\nUSAGE:\n   {name}{options_word} {arguments}\n", command.usage);
    if !command.description.is_empty() {
        for part in ["\nDESCRIPTION:\n   ", command.description, "\n"] {
            text.push_str(part);
        }
    }
    text.push_str(&examples(manner, command.examples));
    if !rows.is_empty() {
        for part in ["\nOPTIONS:\n", &table(&rows), "   \n"] {
            text.push_str(part);
        }
    }
    text
}

/// Command lines to start from, in our own help alone.
fn examples(manner: Manner, lines: &[&str]) -> String {
    if manner == Manner::DropIn || lines.is_empty() {
        return String::new();
    }
    let lines = lines.iter().map(|line| format!("   {} {line}\n", manner.name()));
    format!("\nEXAMPLES:\n{}", lines.collect::<String>())
}

type Row = (String, String);

fn command_rows(commands: &[Command], manner: Manner) -> Vec<Row> {
    let shown = commands.iter().filter(|command| manner == Manner::Own || !command.own);
    shown.map(|command| (command.name.to_owned(), command.usage.to_owned())).collect()
}

fn flag_rows(flags: &[Flag], manner: Manner) -> Vec<Row> {
    flags.iter().filter(|flag| manner == Manner::Own || !flag.own).map(|flag| flag_row(flag, manner)).collect()
}

fn flag_row(flag: &Flag, manner: Manner) -> Row {
    let usage = if manner == Manner::Own && !flag.own_usage.is_empty() { flag.own_usage } else { flag.usage };
    let mut parts = usage.splitn(3, '`');
    let (value, usage) = match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(name), Some(after)) => (name, format!("{before}{name}{after}")),
        _ => ("value", usage.to_owned()),
    };
    let value = if flag.kind == Kind::Bool { String::new() } else { format!(" {value}") };
    let dashes = |name: &str| if name.len() == 1 { "-" } else { "--" };
    let names: Vec<_> = flag.names.iter().map(|name| format!("{}{name}{value}", dashes(name))).collect();
    let default = match (flag.kind, flag.default) {
        (_, "") => String::new(),
        (Kind::Text, default) => format!(" (default: \"{default}\")"),
        (_, default) => format!(" (default: {default})"),
    };
    (names.join(", "), usage + &default)
}

/// Two columns, two blanks between them.
fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("   {left:width$}  {right}\n")).collect::<Vec<_>>().concat()
}
