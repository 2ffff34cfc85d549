//! How a command fails: what it says, and with which exit status.

use crate::client::{Error, Trouble};

/// Exit statuses of etcdctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Wrong arguments, and whatever goes wrong with members, users, roles and files.
    BadArguments = 1,
    /// Nobody could be reached to learn the endpoints.
    BadConnection = 2,
    /// The server refused, or nobody answered.
    Server = 4,
    /// `cluster-health` found what it looks for.
    NotHealthy = 5,
}

/// The end of a command that did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The exit status.
    pub code: Code,
    /// For standard error, with its end of line.
    pub text: String,
    /// What went wrong, if it went wrong between us and the cluster.
    pub cause: Option<Error>,
}

impl Failed {
    /// A line of our own; status 1.
    pub(crate) fn said(line: impl Into<String>) -> Self {
        Self { code: Code::BadArguments, text: line.into() + "\n", cause: None }
    }

    /// Nothing more to say than the status.
    pub(crate) fn silent(code: Code) -> Self {
        Self { code, text: String::new(), cause: None }
    }

    /// As the key commands say it: `Error:  MESSAGE`, and each endpoint's trouble once more.
    pub(crate) fn error(code: Code, error: Error) -> Self {
        let detail = error.detail().map_or_else(String::new, |detail| detail + "\n");
        Self { code, text: format!("Error:  {error}\n{detail}"), cause: Some(error) }
    }

    /// A bad argument, as the key commands say it.
    pub(crate) fn argument(message: &str) -> Self {
        Self::error(Code::BadArguments, Error::Said(message.to_owned()))
    }

    /// As the other commands say it: the bare message; status 1.
    pub(crate) fn bare(error: Error) -> Self {
        Self { code: Code::BadArguments, text: format!("{error}\n"), cause: Some(error) }
    }

    /// What the user may try, when called by our own name.
    pub(crate) fn hint(&self) -> Option<String> {
        match self.cause.as_ref()? {
            Error::Cluster(attempts) => {
                let first = attempts.first()?;
                Some(hint_for(first.trouble, &first.endpoint))
            }
            Error::Once(attempt) => Some(hint_for(attempt.trouble, &attempt.endpoint)),
            Error::Deadline => Some("there was no answer in time: --timeout and --total-timeout give it longer".into()),
            Error::Api(error) => hint_for_code(error.code).map(str::to_owned),
            Error::InvalidJson | Error::EmptyBody => {
                Some("is this the client port of an etcd v2 server? --endpoints names another".into())
            }
            Error::BadEndpoint(_) => Some("--endpoints wants http://HOST:PORT, and a comma between two of them".into()),
            Error::NoEndpoints | Error::Said(_) => None,
        }
    }
}

fn hint_for(trouble: Trouble, endpoint: &str) -> String {
    match trouble {
        Trouble::Connection => {
            format!("nothing serves at {endpoint}: start the server, or name another with --endpoints http://HOST:PORT")
        }
        Trouble::Closed => format!("{endpoint} closed the connection: does it speak https, or http?"),
        Trouble::Name => format!("the host of {endpoint} has no address: check its spelling and /etc/resolv.conf"),
        Trouble::Silence => {
            format!("{endpoint} did not answer in time: see cluster-health, or wait longer with --timeout 10s")
        }
        Trouble::Tls => format!("{endpoint} and we do not agree on TLS: https or http? the right --ca-file?"),
        Trouble::Missing => format!("the server at {endpoint} does not have this"),
        Trouble::Server => {
            format!("{endpoint} can not serve now, most likely for want of a leader: see cluster-health")
        }
        Trouble::Other => format!("check the endpoint {endpoint}: http://HOST:PORT is expected"),
    }
}

fn hint_for_code(code: u64) -> Option<&'static str> {
    match code {
        102 => Some("this is a directory, or was to become one: see ls, mkdir, rm --recursive"),
        104 => Some("a part of the path is a file, and can have nothing below it"),
        108 => Some("rm --recursive removes it with all that is in it"),
        110 => Some("name the user with -u USER:PASSWORD"),
        401 => Some("the history does not reach back so far: read the state again, and watch from its index on"),
        _ => None,
    }
}
