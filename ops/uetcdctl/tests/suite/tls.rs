//! TLS: both tools beside each other against an etcd that asks for certificates.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::harness::{DropIn, PATIENCE, bare, eventually, need, shell};

/// An authority, and certificates for `server` and `client` that it has signed.
const MAKE_CERTIFICATES: &str = "set -e
key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $key -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca
printf 'subjectAltName=DNS:localhost,DNS:sock,IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > extensions
for name in server client; do
    openssl req $key -keyout $name.key -out $name.csr -subj /CN=$name
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out $name.pem
done
openssl genrsa -out rsa.key 2048
openssl pkcs8 -topk8 -in client.key -passout pass:secret -out locked.key
sed 4d client.pem > cut.pem";

/// Lines for both tools.
const LINES: &str = "get k
--ca-file ca.pem get k
--ca-file ca.pem --cert-file client.pem --key-file client.key set k v
--ca-file ca.pem --cert-file client.pem --key-file client.key -o json get /none
--ca-file ca.pem --cert-file client.pem --key-file client.key cluster-health
--ca-file ca.pem --cert-file client.pem --key-file client.key member list
-ca-file ca.pem -cert-file client.pem -key-file client.key -no-sync get k
--ca-file ca.pem --cert-file client.pem --key-file client.key --debug set d/k 1
--ca-file ca.pem --cert-file client.pem --key-file client.key update d/k 2
--ca-file ca.pem --cert-file client.pem --key-file client.key -o extended mk k 1
--ca-file ca.pem --cert-file client.pem --key-file client.key ls -r -p --sort
--ca-file ca.pem --cert-file client.pem --key-file client.key watch -r --after-index 4 /
--ca-file ca.pem --cert-file client.pem --key-file client.key rm -r none
--ca-file ca.pem --cert-file client.pem --key-file client.key role list
--ca-file ca.pem --cert-file client.pem --key-file client.key member update 12 http://127.0.0.1:1
--ca-file ca.pem --no-sync set k v
--ca-file ca.pem cluster-health
cluster-health
--ca-file client.pem --cert-file client.pem --key-file client.key get k
--ca-file ca.pem --cert-file client.pem --key-file server.key get k
--ca-file ca.pem --cert-file client.pem --key-file ca.pem get k
--ca-file ca.pem --cert-file client.pem --key-file rsa.key cluster-health
--ca-file ca.pem --cert-file client.key --key-file client.key get k
--ca-file ca.pem --cert-file extensions --key-file client.key get k
--ca-file ca.pem --cert-file client.pem --key-file extensions get k
--ca-file ca.pem --cert-file client.pem --key-file locked.key get k
--ca-file ca.pem --cert-file client.csr --key-file client.key get k
--ca-file ca.pem --cert-file client.pem --key-file client.csr get k
--ca-file ca.pem --cert-file cut.pem --key-file client.key get k
--ca-file ca.pem --cert-file . --key-file client.key get k
--ca-file ca.pem --cert-file extensions --key-file none get k
--ca-file client.key get k
--ca-file cut.pem get k
--ca-file extensions get k
--ca-file extensions cluster-health
--ca-file . get k
--ca-file . cluster-health
--endpoints unix://sock:1 --no-sync -o extended get k
--endpoints unix://sock:1 --no-sync --debug set k v
--endpoints unix://sock:1/ --no-sync watch -r --after-index 4 /
--endpoints unix://sock:1 --ca-file ca.pem --cert-file client.pem --key-file client.key member list
--endpoints unix://sock:1 --ca-file ca.pem --cert-file client.pem --key-file client.key cluster-health
--endpoints unix://sock:1 --ca-file extensions --no-sync get k
--endpoints unix://sock:1/path --no-sync member list
--endpoints unixs://sock:2 --ca-file ca.pem --cert-file client.pem --key-file client.key --no-sync get k
--endpoints unixs://sock:2 --ca-file ca.pem --cert-file client.pem --key-file client.key --debug get k
--endpoints unixs://sock:2 --no-sync get k
--endpoints unix://sock:3 get k
--endpoints unix://sock:3 --no-sync set k v
--endpoints unix://sock member list
--endpoints unixs://sock: --no-sync --debug get k
--endpoints unix:///sock:1 --no-sync --debug get k
--endpoints unix://none:99999 cluster-health";

struct Etcd(Child);

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("bound").port()
}

fn etcd(home: &Path) -> (Etcd, String) {
    let (client, peer) = (format!("https://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let child = Command::new("etcd")
        .current_dir(home)
        .args(["--enable-v2", "--data-dir", "data", "--name", "a", "--client-cert-auth", "--trusted-ca-file", "ca.pem"])
        .args(["--cert-file", "server.pem", "--key-file", "server.key", "--initial-cluster", &format!("a={peer}")])
        .args([
            "--listen-client-urls",
            &format!("{client},unix://sock:1,unixs://sock:2"),
            "--advertise-client-urls",
            &client,
        ])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd starts");
    (Etcd(child), client)
}

#[test]
fn certificates_are_asked_for_checked_and_shown() {
    need("openssl");
    need("etcd");
    need("etcdctl");
    let home = tempfile::tempdir().expect("a directory");
    let made = shell(&format!("cd {} && {MAKE_CERTIFICATES}", home.path().display()));
    assert!(made.status.success(), "{made:?}");
    let (_etcd, url) = etcd(home.path());
    let ours = DropIn::new();
    let run_with = |variables: &[(&str, &str)], program: &Path, words: &str| {
        let mut command = bare(&program.display().to_string());
        command.current_dir(home.path()).env("ETCDCTL_API", "2").envs(variables.iter().copied());
        command.args(["--endpoints", &url]).args(words.split_whitespace()).output().expect("it starts")
    };
    let run = |program: &Path, words: &str| run_with(&[], program, words);
    let good = "--ca-file ca.pem --cert-file client.pem --key-file client.key";
    eventually("etcd serves", PATIENCE, || {
        run(&ours.path(), &format!("{good} set k 0")).status.success().then_some(())
    });
    for line in LINES.lines() {
        let (want, got) = (run(Path::new("etcdctl"), line), run(&ours.path(), line));
        assert_eq!(shown(&got), shown(&want), "{line}");
    }
    let files =
        [("ETCDCTL_CA_FILE", "ca.pem"), ("ETCDCTL_CERT_FILE", "client.pem"), ("ETCDCTL_KEY_FILE", "client.key")];
    for (variables, code) in [(&files[..], 0), (&files[..2], 1), (&files[..1], 4)] {
        let [want, got] = [Path::new("etcdctl"), &ours.path()].map(|program| run_with(variables, program, "get k"));
        assert_eq!((shown(&want), want.status.code()), (shown(&got), Some(code)), "{variables:?}");
    }
}

/// What a program printed, and how it ended. etcdctl has a word more about a refusal that it has read before it waited for it: on a
/// busy machine.
fn shown(output: &Output) -> String {
    format!("{output:?}").replace("readLoopPeekFailLocked: ", "")
}
