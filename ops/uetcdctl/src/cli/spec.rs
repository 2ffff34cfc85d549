//! What commands and flags are made of.

use std::path::Path;

/// Under which name the program was called. As `etcdctl` it is a drop-in, down to its help; as anything else it also says what to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Called `etcdctl`.
    DropIn,
    /// Called by its own name.
    Own,
}

impl Manner {
    /// The manner that goes with `argv[0]`.
    pub(crate) fn of(program: &str) -> Self {
        if Path::new(program).file_name().is_some_and(|name| name == "etcdctl") { Self::DropIn } else { Self::Own }
    }

    /// The name that help texts show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DropIn => "etcdctl",
            Self::Own => "uetcdctl",
        }
    }
}

/// What a flag's value may be. Numbers are written as in Go: `16`, `0x10`, `0b1_0000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Present or not; `-f=false` takes it back.
    Bool,
    /// Any text.
    Text,
    /// Any text, as often as wanted.
    List,
    /// A 64-bit signed number.
    Int,
    /// A number with a unit: `1.5s`, `300ms`.
    Duration,
}

/// One flag. The first name is the long one.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Spellings, without dashes.
    pub names: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// Value when it is not given, as typed; empty for none.
    pub default: &'static str,
    /// One line for the help; what stands between backquotes names the value.
    pub usage: &'static str,
    /// The same for our own help, where it has more to say; else empty.
    pub own_usage: &'static str,
    /// What shells offer for its value; empty where anything goes.
    pub values: &'static [&'static str],
    /// etcdctl does not have it: the drop-in does not take it, unless the whole command is ours.
    pub own: bool,
}

impl Flag {
    /// A flag of etcdctl.
    pub(crate) const fn new(names: &'static [&'static str], kind: Kind, usage: &'static str) -> Self {
        Self { names, kind, default: "", usage, own_usage: "", values: &[], own: false }
    }

    /// With this value unless another is given.
    pub(crate) const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    /// With this line in our own help.
    pub(crate) const fn own_usage(self, own_usage: &'static str) -> Self {
        Self { own_usage, ..self }
    }

    /// With these values to offer.
    pub(crate) const fn values(self, values: &'static [&'static str]) -> Self {
        Self { values, ..self }
    }

    /// A flag that etcdctl does not have.
    pub(crate) const fn own(self) -> Self {
        Self { own: true, ..self }
    }
}

/// A command, or a group of them.
#[derive(Debug)]
pub(crate) struct Command {
    /// The word that calls it.
    pub name: &'static str,
    /// One line for the list of commands.
    pub usage: &'static str,
    /// What follows the flags, for the help. A lone space means that nothing does.
    pub arguments: &'static str,
    /// More about it, as etcdctl's help has it.
    pub description: &'static str,
    /// Command lines to start from, without the program's name; only in uetcdctl's own help.
    pub examples: &'static [&'static str],
    /// Its flags, without `--help`.
    pub flags: &'static [Flag],
    /// What it does.
    pub task: Task,
    /// etcdctl does not have it, or no longer: the drop-in does it, but does not show it.
    pub own: bool,
}

/// What a command's word stands for.
#[derive(Debug)]
pub(crate) enum Task {
    /// One of these follows.
    Group(&'static [Command]),
    /// `help [COMMAND]`.
    Help,
    Backup,
    ClusterHealth,
    Make,
    MakeDir,
    Remove,
    RemoveDir,
    Get,
    List,
    Set,
    SetDir,
    Update,
    UpdateDir,
    Watch,
    ExecWatch,
    Import,
    Mirror,
    Completion,
    MemberList,
    MemberAdd,
    MemberRemove,
    MemberUpdate,
    UserAdd,
    UserGet,
    UserList,
    UserRemove,
    UserGrant,
    UserRevoke,
    UserPasswd,
    RoleAdd,
    RoleGet,
    RoleList,
    RoleRemove,
    RoleGrant,
    RoleRevoke,
    AuthEnable,
    AuthDisable,
}

impl Command {
    /// A command of etcdctl without flags.
    pub(crate) const fn new(name: &'static str, usage: &'static str, arguments: &'static str, task: Task) -> Self {
        Self { name, usage, arguments, description: "", examples: &[], flags: &[], task, own: false }
    }

    /// With these flags.
    pub(crate) const fn flags(self, flags: &'static [Flag]) -> Self {
        Self { flags, ..self }
    }

    /// With these command lines in its own help.
    pub(crate) const fn examples(self, examples: &'static [&'static str]) -> Self {
        Self { examples, ..self }
    }

    /// With more to say.
    pub(crate) const fn description(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// A command that etcdctl does not have.
    pub(crate) const fn own(self) -> Self {
        Self { own: true, ..self }
    }

    /// Its commands, if it is a group.
    pub(crate) fn members(&self) -> &'static [Command] {
        match self.task {
            Task::Group(members) => members,
            _ => &[],
        }
    }
}
