//! The table of commands and flags. Order and texts are etcdctl 3.4's; what is marked `own` is not in etcdctl.

use super::spec::{Command, Flag, Kind, Task};

pub(super) const FORMATS: &[&str] = &["simple", "extended", "json", "table"];

/// Flags before the command.
pub(crate) static GLOBAL_FLAGS: &[Flag] = &[
    Flag::new(&["debug"], Kind::Bool, "output cURL commands which can be used to reproduce the request"),
    Flag::new(&["no-sync"], Kind::Bool, "don't synchronize cluster information before sending request"),
    Flag::new(&["output", "o"], Kind::Text, "output response in the given format (`simple`, `extended` or `json`)")
        .own_usage("output response in the given format (`simple`, `extended`, `json` or `table`)")
        .values(FORMATS)
        .or("simple"),
    Flag::new(&["discovery-srv", "D"], Kind::Text, "domain name to query for SRV records describing cluster endpoints"),
    Flag::new(&["insecure-discovery"], Kind::Bool, "accept insecure SRV records describing cluster endpoints"),
    Flag::new(&["peers", "C"], Kind::Text, "DEPRECATED - \"--endpoints\" should be used instead"),
    Flag::new(&["endpoint"], Kind::Text, "DEPRECATED - \"--endpoints\" should be used instead"),
    Flag::new(
        &["endpoints"],
        Kind::Text,
        "a comma-delimited list of machine addresses in the cluster (default: \"http://127.0.0.1:2379,http://127.0.0.1:4001\")",
    ),
    Flag::new(&["cert-file"], Kind::Text, "identify HTTPS client using this SSL certificate file"),
    Flag::new(&["key-file"], Kind::Text, "identify HTTPS client using this SSL key file"),
    Flag::new(&["ca-file"], Kind::Text, "verify certificates of HTTPS-enabled servers using this CA bundle"),
    Flag::new(&["username", "u"], Kind::Text, "provide username[:password] and prompt if password is not supplied."),
    Flag::new(&["timeout"], Kind::Duration, "connection timeout per request").or("2s"),
    Flag::new(&["total-timeout"], Kind::Duration, "timeout for the command execution (except watch)").or("5s"),
];

const TTL: Flag = Flag::new(&["ttl"], Kind::Int, "key time-to-live in seconds").or("0");
const SORT: Flag = Flag::new(&["sort"], Kind::Bool, "returns result in sorted order");
const QUORUM: Flag = Flag::new(&["quorum", "q"], Kind::Bool, "require quorum for get request");
const AFTER_INDEX: Flag = Flag::new(&["after-index"], Kind::Int, "watch after the given index").or("0");
const SINCE: Flag =
    Flag::new(&["since"], Kind::Int, "watch from the given index on, the change that has it included").or("0").own();
const OUTPUT: Flag =
    Flag::new(&["output", "o"], Kind::Text, "as the global flag: `simple`, `extended`, `json` or `table`")
        .values(FORMATS)
        .own();
const ROLES: &[Flag] = &[Flag::new(&["roles"], Kind::List, "List of roles to grant or revoke")];

const SET_MORE: &str = "Set sets the value of a key.\n\n   When <value> begins with '-', <value> is interpreted as a flag.\n   Insert '--' for workaround:\n\n   $ set -- <key> <value>";

/// All commands, in the order of the help.
pub(crate) static COMMANDS: &[Command] = &[
    Command::new("backup", "backup an etcd directory", " ", Task::Backup)
        .flags(&[
            Flag::new(&["data-dir"], Kind::Text, "Path to the etcd data dir"),
            Flag::new(&["wal-dir"], Kind::Text, "Path to the etcd wal dir"),
            Flag::new(&["backup-dir"], Kind::Text, "Path to the backup dir"),
            Flag::new(&["backup-wal-dir"], Kind::Text, "Path to the backup wal dir"),
            Flag::new(&["with-v3"], Kind::Bool, "Backup v3 backend data"),
        ])
        .examples(&[
            "backup --backup-dir /backup/monday                                   of the cluster that runs",
            "backup --data-dir /var/lib/uetcd --backup-dir /backup/monday         of a member that does not run",
        ]),
    Command::new("cluster-health", "check the health of the etcd cluster", " ", Task::ClusterHealth)
        .flags(&[Flag::new(&["forever", "f"], Kind::Bool, "forever check the health every 10 second until CTRL+C")])
        .examples(&["cluster-health", "--endpoints http://10.0.0.1:2379 cluster-health --forever"]),
    Command::new("mk", "make a new key with a given value", "<key> <value>", Task::Make)
        .flags(&[Flag::new(&["in-order"], Kind::Bool, "create in-order key under directory <key>"), TTL])
        .examples(&["mk /lock/leader $(hostname) --ttl 30", "-o extended mk --in-order /queue job"]),
    Command::new("mkdir", "make a new directory", "<key>", Task::MakeDir)
        .flags(&[TTL])
        .examples(&["mkdir /dir", "mkdir /dir --ttl 60"]),
    Command::new("rm", "remove a key or a directory", "<key>", Task::Remove)
        .flags(&[
            Flag::new(&["dir"], Kind::Bool, "removes the key if it is an empty directory or a key-value pair"),
            Flag::new(&["recursive", "r"], Kind::Bool, "removes the key and all child keys(if it is a directory)"),
            Flag::new(&["with-value"], Kind::Text, "previous value"),
            Flag::new(&["with-index"], Kind::Int, "previous index").or("0"),
        ])
        .examples(&["rm /a", "rm /a --with-value old", "rm -r /dir"]),
    Command::new("rmdir", "removes the key if it is an empty directory or a key-value pair", "<key>", Task::RemoveDir)
        .examples(&["rmdir /dir"]),
    Command::new("get", "retrieve the value of a key", "<key>", Task::Get).flags(&[SORT, QUORUM, OUTPUT]).examples(&[
        "get /a",
        "get --quorum /a",
        "get -o table /a",
    ]),
    Command::new("ls", "retrieve a directory", "[key]", Task::List)
        .flags(&[
            SORT,
            Flag::new(&["recursive", "r"], Kind::Bool, "returns all key names recursively for the given path"),
            Flag::new(&["p"], Kind::Bool, "append slash (/) to directories"),
            QUORUM,
            OUTPUT,
        ])
        .examples(&["ls", "ls -r -p /dir", "ls -o table -r /dir"]),
    Command::new("set", "set the value of a key", "<key> <value>", Task::Set)
        .description(SET_MORE)
        .flags(&[
            TTL,
            Flag::new(&["swap-with-value"], Kind::Text, "previous value"),
            Flag::new(&["swap-with-index"], Kind::Int, "previous index").or("0"),
        ])
        .examples(&[
            "set /a value",
            "set /a value --ttl 60",
            "set /a new --swap-with-value old",
            "set /config < config.yml",
        ]),
    Command::new("setdir", "create a new directory or update an existing directory TTL", "<key>", Task::SetDir)
        .flags(&[TTL])
        .examples(&["setdir /dir", "setdir /dir --ttl 60"]),
    Command::new("update", "update an existing key with a given value", "<key> <value>", Task::Update)
        .flags(&[TTL])
        .examples(&["update /a new", "update /a new --ttl 60"]),
    Command::new("updatedir", "update an existing directory", "<key> <value>", Task::UpdateDir)
        .flags(&[TTL])
        .examples(&["updatedir /dir --ttl 60"]),
    Command::new("watch", "watch a key for changes", "<key>", Task::Watch)
        .flags(&[
            Flag::new(&["forever", "f"], Kind::Bool, "forever watch a key until CTRL+C"),
            AFTER_INDEX,
            SINCE,
            Flag::new(&["recursive", "r"], Kind::Bool, "returns all values for key and child keys"),
        ])
        .examples(&["watch /a", "watch -f -r /dir", "watch -f -r --since 1234 /dir"]),
    Command::new(
        "exec-watch",
        "watch a key for changes and exec an executable",
        "<key> <command> [args...]",
        Task::ExecWatch,
    )
    .flags(&[AFTER_INDEX, SINCE, Flag::new(&["recursive", "r"], Kind::Bool, "watch all values for key and child keys")])
    .examples(&["exec-watch -r /dir -- sh -c 'echo $ETCD_WATCH_KEY is now $ETCD_WATCH_VALUE'"]),
    Command::new("member", "member add, remove and list subcommands", "", Task::Group(MEMBER)),
    Command::new("user", "user add, grant and revoke subcommands", "", Task::Group(USER)),
    Command::new("role", "role add, grant and revoke subcommands", "", Task::Group(ROLE)),
    Command::new("auth", "overall auth controls", "", Task::Group(AUTH)),
    Command::new("import", "import a snapshot to a cluster", " ", Task::Import)
        .flags(&[
            Flag::new(&["snap"], Kind::Text, "Path to the valid etcd 0.4.x snapshot."),
            Flag::new(&["hidden"], Kind::List, "Hidden key spaces to import from snapshot"),
            Flag::new(&["c"], Kind::Int, "Number of concurrent clients to import the data").or("10"),
        ])
        .examples(&["import --snap snapshot.json --hidden /_coreos.com"])
        .own(),
    Command::new("mirror", "copy another cluster's keys into this one, and follow its changes", "[key]", Task::Mirror)
        .flags(MIRROR)
        .examples(&[
            "mirror --from http://old:2379                          everything, until CTRL+C",
            "mirror --from http://old:2379 --state /var/lib/m.json  go on where the last run ended",
            "mirror --from http://old:2379 --once /app              copy /app once",
        ])
        .own(),
    Command::new(
        "completion",
        "write completions for bash, zsh, fish, elvish or powershell",
        "<shell>",
        Task::Completion,
    )
    .examples(&["completion bash > /etc/bash_completion.d/uetcdctl"])
    .own(),
];

/// What every group, and the program, answers to besides its own commands.
pub(super) static HELP: Command =
    Command::new("help", "Shows a list of commands or help for one command", "[command]", Task::Help)
        .examples(&["help set", "help member add"]);

/// Command lines for the help of the program.
pub(super) static EXAMPLES: &[&str] = &[
    "set /a value",
    "get /a",
    "ls -r -p /",
    "--endpoints http://10.0.0.1:2379,http://10.0.0.2:2379 cluster-health",
    "-o json get /a",
    "-u root:password user list",
];

const MIRROR: &[Flag] = &[
    Flag::new(&["from"], Kind::Text, "endpoints of the cluster to copy, comma-delimited").own(),
    Flag::new(&["from-username"], Kind::Text, "username:password at the cluster to copy").own(),
    Flag::new(&["to"], Kind::Text, "directory to copy into; the same key unless given").own(),
    Flag::new(&["state"], Kind::Text, "file that keeps how far it got, to go on from there").own(),
    Flag::new(&["once"], Kind::Bool, "copy what is there now, and end").own(),
    Flag::new(&["keep"], Kind::Bool, "leave keys alone that only the copy has").own(),
    Flag::new(&["workers"], Kind::Int, "requests to this cluster at a time").or("8").own(),
];

const MEMBER: &[Command] = &[
    Command::new("list", "enumerate existing cluster members", " ", Task::MemberList).examples(&["member list"]),
    Command::new("add", "add a new member to the etcd cluster", "<name> <peerURL>", Task::MemberAdd)
        .examples(&["member add b http://10.0.0.2:2380"]),
    Command::new("remove", "remove an existing member from the etcd cluster", "<memberID>", Task::MemberRemove)
        .examples(&["member remove 8e9e05c52164694d"]),
    Command::new(
        "update",
        "update an existing member in the etcd cluster",
        "<memberID> <peerURLs>",
        Task::MemberUpdate,
    )
    .examples(&["member update 8e9e05c52164694d http://10.0.0.2:2380"]),
];

const USER: &[Command] = &[
    Command::new("add", "add a new user for the etcd cluster", "<user>", Task::UserAdd)
        .examples(&["user add alice", "user add alice:password"]),
    Command::new("get", "get details for a user", "<user>", Task::UserGet).examples(&["user get alice"]),
    Command::new("list", "list all current users", "<user>", Task::UserList).examples(&["user list"]),
    Command::new("remove", "remove a user for the etcd cluster", "<user>", Task::UserRemove)
        .examples(&["user remove alice"]),
    Command::new("grant", "grant roles to an etcd user", "<user>", Task::UserGrant)
        .flags(ROLES)
        .examples(&["user grant alice --roles readers,writers"]),
    Command::new("revoke", "revoke roles for an etcd user", "<user>", Task::UserRevoke)
        .flags(ROLES)
        .examples(&["user revoke alice --roles writers"]),
    Command::new("passwd", "change password for a user", "<user>", Task::UserPasswd).examples(&["user passwd alice"]),
];

const ROLE: &[Command] = &[
    Command::new("add", "add a new role for the etcd cluster", "<role> ", Task::RoleAdd)
        .examples(&["role add readers"]),
    Command::new("get", "get details for a role", "<role>", Task::RoleGet).examples(&["role get readers"]),
    Command::new("list", "list all roles", " ", Task::RoleList).examples(&["role list"]),
    Command::new("remove", "remove a role from the etcd cluster", "<role>", Task::RoleRemove)
        .examples(&["role remove readers"]),
    Command::new("grant", "grant path matches to an etcd role", "<role>", Task::RoleGrant)
        .flags(&[
            Flag::new(&["path"], Kind::Text, "Path granted for the role to access"),
            Flag::new(&["read"], Kind::Bool, "Grant read-only access"),
            Flag::new(&["write"], Kind::Bool, "Grant write-only access"),
            Flag::new(&["readwrite", "rw"], Kind::Bool, "Grant read-write access"),
        ])
        .examples(&["role grant readers --path '/app/*' --read"]),
    Command::new("revoke", "revoke path matches for an etcd role", "<role>", Task::RoleRevoke)
        .flags(&[
            Flag::new(&["path"], Kind::Text, "Path revoked for the role to access"),
            Flag::new(&["read"], Kind::Bool, "Revoke read access"),
            Flag::new(&["write"], Kind::Bool, "Revoke write access"),
            Flag::new(&["readwrite", "rw"], Kind::Bool, "Revoke read-write access"),
        ])
        .examples(&["role revoke readers --path '/app/*' --read"]),
];

const AUTH: &[Command] = &[
    Command::new("enable", "enable auth access controls", " ", Task::AuthEnable).examples(&["auth enable"]),
    Command::new("disable", "disable auth access controls", " ", Task::AuthDisable)
        .examples(&["-u root:password auth disable"]),
];
