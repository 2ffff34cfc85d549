//! The users, roles and switch of authentication.

use serde::Deserialize;

use super::members::{expect, json, message, null_is_empty};
use super::{Client, Deadline, Error, Method, Reply, Request};
use crate::text::{clean_path, json_string, path_escape};

/// A user, as far as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub name: String,
    pub roles: Vec<String>,
}

/// A role.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Role {
    #[serde(rename = "role")]
    pub name: String,
    pub permissions: Permissions,
}

/// What a role may do.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Permissions {
    pub kv: Paths,
}

/// Paths that may be read or written. `None`, which the servers say of a role that never had any, is not the same as none
/// that are left: a change from the one to the other is one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Paths {
    pub read: Option<Vec<String>>,
    pub write: Option<Vec<String>>,
}

/// A role in a user: by name, or whole.
#[derive(Deserialize)]
#[serde(untagged)]
enum RoleOfUser {
    Name(String),
    Whole(Role),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserWire {
    user: String,
    #[serde(deserialize_with = "null_is_empty")]
    roles: Vec<RoleOfUser>,
}

impl From<UserWire> for User {
    fn from(wire: UserWire) -> Self {
        let name = |role| match role {
            RoleOfUser::Name(name) => name,
            RoleOfUser::Whole(role) => role.name,
        };
        Self { name: wire.user, roles: wire.roles.into_iter().map(name).collect() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Users {
    #[serde(deserialize_with = "null_is_empty")]
    users: Vec<UserWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Roles {
    #[serde(deserialize_with = "null_is_empty")]
    roles: Vec<Role>,
}

/// The authentication API of one cluster, within one deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Auth<'a> {
    client: &'a Client,
    deadline: Deadline,
}

impl<'a> Auth<'a> {
    /// The API of this cluster.
    pub(crate) fn new(client: &'a Client, deadline: Deadline) -> Self {
        Self { client, deadline }
    }

    /// Switches authentication on or off.
    ///
    /// # Errors
    /// The server's message when it refuses, here and below.
    pub(crate) fn switch(self, on: bool) -> Result<(), Error> {
        let method = if on { Method::Put } else { Method::Delete };
        self.ask(&Request::new(method, "/v2/auth/enable"), &[200, 201]).map(drop)
    }

    /// The names of all users.
    pub(crate) fn users(self) -> Result<Vec<String>, Error> {
        let request = Request { content_type: Some("application/json"), ..Request::new(Method::Get, "/v2/auth/users") };
        let reply = self.ask(&request, &[200])?;
        json::<Users>(&reply).map(|users| users.users.into_iter().map(|user| user.user).collect())
    }

    /// One user.
    pub(crate) fn user(self, name: &str) -> Result<User, Error> {
        let reply = self.ask(&Request::new(Method::Get, user_path(name)), &[200])?;
        json::<UserWire>(&reply).map(User::from)
    }

    /// Adds a user, or gives one another password.
    pub(crate) fn put_user(self, name: &str, password: &str) -> Result<(), Error> {
        self.ask(&with_password(name, password), &[200, 201]).map(drop)
    }

    /// Gives a user another password. To etcdctl one that is made by this is an error without a message.
    pub(crate) fn change_password(self, name: &str, password: &str) -> Result<(), Error> {
        self.ask(&with_password(name, password), &[200]).map(drop)
    }

    /// Removes a user.
    pub(crate) fn remove_user(self, name: &str) -> Result<(), Error> {
        self.ask(&Request::new(Method::Delete, user_path(name)), &[200, 201]).map(drop)
    }

    /// Gives or takes a user's roles; `verb` is `grant` or `revoke`.
    pub(crate) fn change_user(self, name: &str, verb: &str, roles: &[String]) -> Result<(), Error> {
        let body = format!("{{\"user\":{},\"roles\":null,\"{verb}\":{}}}", json_string(name), json_list(roles));
        self.ask(&Request::new(Method::Put, user_path(name)).json(body), &[200]).map(drop)
    }

    /// The names of all roles.
    pub(crate) fn roles(self) -> Result<Vec<String>, Error> {
        // etcd's client does not read the message of a refusal here.
        let reply = self.client.send(&Request::new(Method::Get, "/v2/auth/roles"), self.deadline)?;
        expect(&reply, &[200])?;
        json::<Roles>(&reply).map(|roles| roles.roles.into_iter().map(|role| role.name).collect())
    }

    /// One role.
    pub(crate) fn role(self, name: &str) -> Result<Role, Error> {
        let reply = self.ask(&Request::new(Method::Get, role_path(name)), &[200])?;
        json(&reply)
    }

    /// Adds a role without permissions.
    pub(crate) fn add_role(self, name: &str) -> Result<(), Error> {
        let body = format!("{{\"role\":{},\"permissions\":{NO_PERMISSIONS}}}", json_string(name));
        self.ask(&Request::new(Method::Put, role_path(name)).json(body), &[200, 201]).map(drop)
    }

    /// Removes a role.
    pub(crate) fn remove_role(self, name: &str) -> Result<(), Error> {
        self.ask(&Request::new(Method::Delete, role_path(name)), &[200, 201]).map(drop)
    }

    /// Gives or takes a role's permissions; `verb` is `grant` or `revoke`. Gives the role as it is then.
    pub(crate) fn change_role(self, name: &str, verb: &str, paths: &Paths) -> Result<Role, Error> {
        let list = |paths: &Option<Vec<String>>| paths.as_deref().map_or_else(|| "null".to_owned(), json_list);
        let (read, write) = (list(&paths.read), list(&paths.write));
        let body = format!(
            "{{\"role\":{},\"permissions\":{NO_PERMISSIONS},\"{verb}\":{{\"kv\":{{\"read\":{read},\"write\":{write}}}}}}}",
            json_string(name)
        );
        let reply = self.ask(&Request::new(Method::Put, role_path(name)).json(body), &[200])?;
        json(&reply)
    }

    fn ask(self, request: &Request, good: &[u16]) -> Result<Reply, Error> {
        let reply = self.client.send(request, self.deadline)?;
        if good.contains(&reply.status) { Ok(reply) } else { Err(message(&reply)) }
    }
}

const NO_PERMISSIONS: &str = "{\"kv\":{\"read\":null,\"write\":null}}";

fn with_password(name: &str, password: &str) -> Request {
    let password = if password.is_empty() { String::new() } else { format!(",\"password\":{}", json_string(password)) };
    let body = format!("{{\"user\":{}{password},\"roles\":null}}", json_string(name));
    Request::new(Method::Put, user_path(name)).json(body)
}

fn user_path(name: &str) -> String {
    named("/v2/auth/users", name)
}

fn role_path(name: &str) -> String {
    named("/v2/auth/roles", name)
}

/// etcd's client drops the slash at the end, so that no name is all names.
fn named(path: &str, name: &str) -> String {
    clean_path(&format!("{path}/{}", path_escape(name))).trim_end_matches('/').to_owned()
}

fn json_list(items: &[String]) -> String {
    let items: Vec<_> = items.iter().map(|item| json_string(item)).collect();
    format!("[{}]", items.join(","))
}
