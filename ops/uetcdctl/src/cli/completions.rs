//! Completions for shells, from the same table.

use std::io;

use clap::ValueEnum as _;
use clap_complete::Shell;

use super::spec::{Command, Flag, Kind, Manner, Task};
use super::table::{COMMANDS, FORMATS, GLOBAL_FLAGS};

/// Writes the completions for `shell`.
///
/// # Errors
/// The names of the shells that there are, when it is none of them.
pub(crate) fn write(manner: Manner, shell: &str, out: &mut dyn io::Write) -> Result<(), String> {
    let shell: Shell =
        shell.parse().map_err(|_| format!("unknown shell {shell:?}: bash, zsh, fish, elvish or powershell"))?;
    let name = manner.name();
    let mut program = clap::Command::new(name).args(GLOBAL_FLAGS.iter().map(argument));
    program = program.subcommands(COMMANDS.iter().map(command));
    clap_complete::generate(shell, &mut program, name, out);
    // A pipe that nobody reads ends the program elsewhere.
    let _ = if shell == Shell::Fish { out.write_all(more_for_fish(name).as_bytes()) } else { Ok(()) };
    Ok(())
}

/// What the generated script leaves out: words that are no flags, and the value of a flag that no command precedes.
fn more_for_fish(name: &str) -> String {
    let shells: Vec<String> = Shell::value_variants().iter().map(ToString::to_string).collect();
    format!(
        "complete -c {name} -n \"__fish_{name}_using_subcommand completion\" -f -a \"{}\"\n\
         complete -c {name} -n \"__fish_prev_arg_in -o --output\" -f -a \"{}\"\n",
        shells.join(" "),
        FORMATS.join(" ")
    )
}

fn command(command: &'static Command) -> clap::Command {
    let shell = clap::Arg::new("shell").value_parser(clap::value_parser!(Shell));
    clap::Command::new(command.name)
        .about(command.usage)
        .args(command.flags.iter().map(argument))
        .args(matches!(command.task, Task::Completion).then_some(shell))
        .subcommands(command.members().iter().map(self::command))
}

fn argument(flag: &'static Flag) -> clap::Arg {
    let action = match flag.kind {
        Kind::Bool => clap::ArgAction::SetTrue,
        _ => clap::ArgAction::Append,
    };
    let mut argument = clap::Arg::new(flag.names[0]).help(flag.usage.replace('`', "")).action(action);
    for name in flag.names {
        let mut letters = name.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => argument = argument.short(letter),
            _ if argument.get_long().is_none() => argument = argument.long(*name),
            _ => argument = argument.visible_alias(*name),
        }
    }
    if !flag.values.is_empty() {
        argument = argument.value_parser(flag.values.to_vec());
    }
    let is_path =
        flag.names[0].ends_with("file") || flag.names[0].ends_with("dir") || ["state", "snap"].contains(&flag.names[0]);
    if is_path && flag.kind == Kind::Text {
        argument = argument.value_hint(clap::ValueHint::AnyPath);
    }
    argument
}
