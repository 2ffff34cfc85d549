//! The commands.

mod auth;
mod backup;
mod cluster_health;
mod completion;
mod directories;
mod exec_watch;
mod import;
mod member;
mod read;
mod remove;
mod role;
mod user;
mod watch;
mod write;

use crate::cli::{Invocation, Task, Values, Word};
use crate::failed::Failed;
use crate::settings::Settings;

/// What a command gets to work with.
#[derive(Debug)]
pub(crate) struct Call {
    /// The global flags.
    pub settings: Settings,
    /// The command's own flags.
    pub flags: Values,
    /// Its other words.
    pub words: Vec<Word>,
}

impl Call {
    /// The key, which most commands need.
    fn key(&self) -> Result<&Word, Failed> {
        self.words.first().ok_or_else(|| Failed::argument("key required"))
    }

    /// For commands that take no words.
    fn no_words(&self) -> Result<(), Failed> {
        if self.words.is_empty() { Ok(()) } else { Err(Failed::said("No arguments accepted")) }
    }

    /// The only word; anything else is refused with `message`.
    fn only_word(&self, message: &str) -> Result<&str, Failed> {
        if let [word] = self.words.as_slice() { Ok(word) } else { Err(Failed::said(message)) }
    }

    /// An index among the flags; as in etcdctl, negative ones wrap around to where no index is.
    fn index(&self, flag: &str) -> u64 {
        self.flags.int(flag) as u64
    }
}

/// Runs a command.
///
/// # Errors
/// What it says at its end, and the exit status.
pub(crate) fn run(invocation: Invocation) -> Result<(), Failed> {
    let Invocation { manner, globals, task, flags, words } = invocation;
    let call = Call { settings: Settings::new(manner, globals), flags, words };
    match task {
        Task::Backup => backup::run(&call),
        Task::ClusterHealth => cluster_health::run(&call),
        Task::Make => write::make(&call),
        Task::MakeDir => directories::make(&call),
        Task::Remove => remove::remove(&call),
        Task::RemoveDir => remove::remove_dir(&call),
        Task::Get => read::get(&call),
        Task::List => read::list(&call),
        Task::Set => write::set(&call),
        Task::SetDir => directories::set(&call),
        Task::Update => write::update(&call),
        Task::UpdateDir => directories::update(&call),
        Task::Watch => watch::run(&call),
        Task::ExecWatch => exec_watch::run(&call),
        Task::Import => import::run(&call),
        Task::Mirror => crate::mirror::run(&call),
        Task::Completion => completion::run(&call),
        Task::MemberList => member::list(&call),
        Task::MemberAdd => member::add(&call),
        Task::MemberRemove => member::remove(&call),
        Task::MemberUpdate => member::update(&call),
        Task::UserAdd => user::add(&call),
        Task::UserGet => user::get(&call),
        Task::UserList => user::list(&call),
        Task::UserRemove => user::remove(&call),
        Task::UserGrant => user::change_roles(&call, "grant"),
        Task::UserRevoke => user::change_roles(&call, "revoke"),
        Task::UserPasswd => user::passwd(&call),
        Task::RoleAdd => role::add(&call),
        Task::RoleGet => role::get(&call),
        Task::RoleList => role::list(&call),
        Task::RoleRemove => role::remove(&call),
        Task::RoleGrant => role::change_permissions(&call, "grant"),
        Task::RoleRevoke => role::change_permissions(&call, "revoke"),
        Task::AuthEnable => auth::switch(&call, true),
        Task::AuthDisable => auth::switch(&call, false),
        Task::Group(_) | Task::Help => unreachable!("answered while the command line was read"),
    }
}
