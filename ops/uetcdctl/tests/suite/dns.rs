//! Endpoints that a real DNS server names, beside Debian's `etcdctl`. Both ask the system's name server, so they run in a
//! network of their own, in which that is a `dnsmasq`.

use crate::harness::{DropIn, need, shell};

/// Starts the name server and etcd, then runs the lines of `$LINES` with the program `$TOOL`. All of it ends with the script.
const SCRIPT: &str = r#"
ip link set lo up
home=$(mktemp -d)
trap 'kill $(jobs -p); wait; rm -rf "$home"' EXIT
echo 'nameserver 127.0.0.1' >"$home/resolv.conf"
mount --bind "$home/resolv.conf" /etc/resolv.conf
srv() { echo "--srv-host=_etcd-client$1._tcp.$2,infra0.test,$3"; }
dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --local=/test/ --pid-file= --user= --bind-interfaces \
    --listen-address=127.0.0.1 --host-record=infra0.test,127.0.0.1 \
    "$(srv '' plain.test 2379)" "$(srv '' both.test 2379)" "$(srv -ssl both.test 9)" 2>/dev/null &
etcd --enable-v2 --data-dir "$home/data" 2>/dev/null &
for i in $(seq 2000); do curl -sf http://127.0.0.1:2379/health >/dev/null && break; sleep 0.01; done
for i in $(seq 2000); do getent hosts infra0.test >/dev/null && break; sleep 0.01; done
unset ${!ETCDCTL_@} UETCD_RESOLVER; export ETCDCTL_API=2
while read -r line; do
    echo "$line"; code=0
    "$TOOL" --timeout 9s --total-timeout 18s $line >"$home/out" 2>"$home/err" </dev/null || code=$?
    sed 's/^/  out /' "$home/out"; sed 's/^/  err /' "$home/err"; echo "  exit $code"
done <<<"$LINES"
"#;

const LINES: &str = "\
--discovery-srv plain.test --insecure-discovery set /a x
--discovery-srv plain.test get /a
-discovery-srv plain.test -insecure-discovery -no-sync get /a
--discovery-srv plain.test --insecure-discovery --no-sync get /a
--discovery-srv both.test --insecure-discovery --no-sync get /a
--discovery-srv plain.test. --insecure-discovery ls
--discovery-srv none.test get /a
--discovery-srv none.test. get /a
--discovery-srv a..b get /a
--discovery-srv=-a get /a
--discovery-srv a/b --insecure-discovery get /a
--discovery-srv none.test --insecure-discovery get /a
--discovery-srv plain.test --insecure-discovery member list
--discovery-srv plain.test cluster-health";

fn run(tool: &str) -> String {
    let output = shell(&format!(
        "TOOL={tool} LINES='{LINES}' exec unshare --net --mount bash -euc '{}'",
        SCRIPT.replace('\'', "'\\''")
    ));
    assert!(output.status.success(), "needs root: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn endpoints_come_from_dns() {
    for program in ["etcdctl", "etcd", "dnsmasq", "curl", "ip", "unshare"] {
        need(program);
    }
    let (want, got) = (run("etcdctl"), run(&DropIn::new().path().display().to_string()));
    assert!(want.contains("--insecure-discovery set /a x\n  out x\n  exit 0"), "{want}");
    assert_eq!(got, want);
}
