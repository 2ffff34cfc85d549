"""Patroni nodes with a PostgreSQL each, as the Debian packages install them, run by the user postgres. Needs root."""

import atexit
import contextlib
import json
import os
import pwd
import signal
import subprocess
import urllib.error
import urllib.request

from harness import directory, free_port

PROGRAMS = "/usr/lib/postgresql/{}/bin".format(max(os.listdir("/usr/lib/postgresql"), key=int))
USER = pwd.getpwnam("postgres")

# A lifetime of 20 s is the shortest that Patroni takes.
CONFIGURATION = """
scope: demo
namespace: /service/
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}
etcd: {{hosts: '{hosts}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 3
    retry_timeout: 5
    maximum_lag_on_failover: 10485760
    postgresql: {{use_pg_rewind: true, parameters: {{wal_log_hints: 'on'}}}}
  initdb: [{{encoding: UTF8}}, {{auth: trust}}, {{locale: C}}]
  pg_hba:
  - local all all trust
  - host all all 127.0.0.1/32 trust
  - host replication all 127.0.0.1/32 trust
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  data_dir: {home}/data
  bin_dir: {programs}
  pgpass: {home}/pgpass
  authentication:
    superuser: {{username: postgres, password: x}}
    replication: {{username: rep, password: x}}
    rewind: {{username: postgres, password: x}}
  parameters: {{unix_socket_directories: '{home}', shared_buffers: 16MB, max_connections: 20, fsync: 'off'}}
watchdog: {{mode: 'off'}}
"""


def process_tree(root):
    """The process and its descendants."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in table.splitlines()]
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in pairs if parent == pid]
    return tree


class Node:
    """A Patroni process, the PostgreSQL that it starts, and its REST API."""

    def __init__(self, name, root, cluster):
        self.name = name
        self.home = os.path.join(root, name)
        self.rest_port = free_port()
        self.port = free_port()
        self.process = None
        self.configuration = self.home + "/patroni.yml"
        self.log = self.home + "/patroni.log"
        os.mkdir(self.home, mode=0o700)
        hosts = ",".join(f"127.0.0.1:{port}" for port in cluster.ports)
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(
                name=name, rest=self.rest_port, port=self.port, hosts=hosts, home=self.home, programs=PROGRAMS))
        for path in [self.home, self.configuration]:
            os.chown(path, USER.pw_uid, USER.pw_gid)
        atexit.register(self.kill)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/patroni", self.configuration],
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": self.home},
                user=USER.pw_uid,
                group=USER.pw_gid,
                extra_groups=[],
                start_new_session=True,
            )

    def kill(self):
        """kill -9 of Patroni, PostgreSQL and all their processes, as when the machine dies."""
        victims = process_tree(self.process.pid) if self.process else []
        # PostgreSQL leaves the tree when it is started, and lives on without Patroni.
        with contextlib.suppress(OSError, ValueError):
            with open(self.home + "/data/postmaster.pid", encoding="utf-8") as file:
                postmaster = int(file.readline())
            if os.stat(f"/proc/{postmaster}").st_uid == USER.pw_uid:
                victims += process_tree(postmaster)
        for pid in set(victims):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
            self.process = None

    def ask(self, path):
        """Status and body of the REST API's answer; 0 when there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/{path}", timeout=4) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, {}
        except (OSError, ValueError):
            return 0, {}

    def is_primary(self):
        return self.ask("primary")[0] == 200

    def is_replica(self):
        return self.ask("replica")[0] == 200

    def timeline(self):
        return self.ask("patroni")[1].get("timeline")

    def sql(self, query):
        done = subprocess.run(
            [PROGRAMS + "/psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-Atc", query],
            capture_output=True, text=True, timeout=20)
        return done.stdout.strip() or done.stderr.strip()

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def control(self, *words):
        """patronictl's exit status."""
        done = subprocess.run(
            ["/usr/bin/patronictl", "-c", self.configuration, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": self.home},
        )
        return done.returncode


def nodes_on(cluster, names):
    root = directory("patroni-")
    # The user postgres must get through to its directories.
    os.chmod(root, 0o755)
    return [Node(name, root, cluster) for name in names]
