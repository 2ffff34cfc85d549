"""Members of a v2 server on free loopback ports, and the transcript that a client's script prints.

ETCD names the server: a command line such as `uetcd` or `etcd --enable-v2`. KEEP=1 keeps the data and the logs.
"""

import atexit
import contextlib
import http.server
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

# Below the ports that outgoing connections get, like the ports of the Rust tests.
FIRST_PORT, LAST_PORT = 10_000, 29_000
START_LIMIT_S = 60
STOP_LIMIT_S = 30

# A test that takes too long is ended by a signal; what runs `atexit` must run then, too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

_leases = []


def free_port():
    """A port that nobody listens on and that no other test takes as long as this process lives."""
    for _ in range(10_000):
        port = random.randrange(FIRST_PORT, LAST_PORT)
        lease = socket.socket(socket.AF_UNIX)
        probe = socket.socket()
        try:
            # The name that the Rust tests claim before they take a port; the zero byte makes it an abstract one.
            lease.bind(f"\0uetcd-test-port-{port}")
            probe.bind(("127.0.0.1", port))
        except OSError:
            lease.close()
            continue
        finally:
            probe.close()
        _leases.append(lease)
        return port
    raise SystemExit("no free port")


def directory(prefix):
    """A temporary directory that goes when the script ends."""
    path = tempfile.mkdtemp(prefix=prefix)
    if os.environ.get("KEEP"):
        print("kept:", path, file=sys.stderr)
    else:
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def get(url, timeout=3):
    with urllib.request.urlopen(url, timeout=timeout) as response:
        return response.read()


def get_json(url, timeout=3):
    return json.loads(get(url, timeout))


def eventually(what, limit_s, probe):
    """Polls until the probe gives something true, and returns that. An exception counts as not yet."""
    end = time.time() + limit_s
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = probe()
            if found:
                return found
        if time.time() > end:
            raise SystemExit(f"not within {limit_s} s: {what}")
        time.sleep(0.05)


def server_environment():
    """Without the variables that servers take for flags."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}


class Cluster:
    """Members m0, m1, ... that serve when the constructor returns. They end with the script."""

    def __init__(self, size=1, command=None):
        self.command = shlex.split(command or os.environ["ETCD"])
        self.directory = directory("client-")
        self.ports = [free_port() for _ in range(size)]
        self.peer_ports = [free_port() for _ in range(size)]
        self.processes = [None] * size
        atexit.register(self.stop)
        for member in range(size):
            self.start(member)
        self.wait(range(size))

    def url(self, member):
        return f"http://127.0.0.1:{self.ports[member]}"

    def urls(self):
        return [self.url(member) for member in range(len(self.ports))]

    def peer_url(self, member):
        return f"http://127.0.0.1:{self.peer_ports[member]}"

    def start(self, member):
        everyone = [f"m{n}={self.peer_url(n)}" for n in range(len(self.ports))]
        flags = {
            "--name": f"m{member}",
            "--data-dir": f"{self.directory}/m{member}",
            "--listen-client-urls": self.url(member),
            "--advertise-client-urls": self.url(member),
            "--listen-peer-urls": self.peer_url(member),
            "--initial-advertise-peer-urls": self.peer_url(member),
            "--initial-cluster": ",".join(everyone),
        }
        words = [word for flag in flags.items() for word in flag]
        with open(f"{self.directory}/log{member}", "ab") as log:
            self.processes[member] = subprocess.Popen(self.command + words, stdout=log, stderr=log, env=server_environment())

    def wait(self, members):
        """Until these members serve and know their leader."""
        for member in members:
            eventually(f"m{member} serves", START_LIMIT_S, lambda: self._serves(member))

    def _serves(self, member):
        status = self.processes[member].poll()
        if status is not None:
            with open(f"{self.directory}/log{member}", encoding="utf-8", errors="replace") as log:
                raise SystemExit(f"m{member} ended with status {status}:\n{log.read()[-2000:]}")
        return get_json(self.url(member) + "/health")["health"] == "true"

    def restart(self, member):
        self.start(member)
        self.wait([member])

    def send(self, member, number):
        self.processes[member].send_signal(number)

    def end(self, member, number=signal.SIGKILL):
        """Ends a member, by kill -9 unless another signal is given, and returns its exit status."""
        process = self.processes[member]
        process.send_signal(number)
        status = process.wait(STOP_LIMIT_S)
        self.processes[member] = None
        return status

    def running(self):
        return [member for member, process in enumerate(self.processes) if process]

    def leader(self):
        leads = lambda n: get_json(self.url(n) + "/v2/stats/self")["state"] == "StateLeader"
        find = lambda: [n for n in self.running() if leads(n)]
        return eventually("a member leads", START_LIMIT_S, find)[0]

    def watchers(self, member=0):
        """Watches that this member serves."""
        return get_json(self.url(member) + "/v2/stats/store")["watchers"]

    def wait_watchers(self, count, member=0):
        eventually(f"{count} watches", 20, lambda: self.watchers(member) == count)

    def stop(self):
        for member in self.running():
            self.send(member, signal.SIGCONT)
            self.end(member)


@contextlib.contextmanager
def control(cluster):
    """A URL at which a script in another language ends members and starts them again: GET URL/{TERM,KILL,START}/PORT."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            _, verb, port = self.path.split("/")
            member = cluster.ports.index(int(port))
            if verb == "START":
                cluster.restart(member)
            else:
                cluster.end(member, getattr(signal, "SIG" + verb))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", free_port()), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def run_client(command, cluster, limit_s, **environment):
    """Runs a client's program, with the members' URLs behind its command line; what it prints is part of the transcript."""
    sys.stdout.flush()
    with control(cluster) as control_url:
        environment = os.environ | {"CONTROL": control_url} | environment
        done = subprocess.run(command + cluster.urls(), env=environment, timeout=limit_s)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with status {done.returncode}")


def anonymous(text):
    """The text without what differs from run to run: ports, the numbers of keys in order, places in memory."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:P", text)
    text = re.sub(r"port=\d+", "port=P", text)
    text = re.sub(r"\d{20}", "N", text)
    return re.sub(r"0x[0-9a-f]+", "0xN", text)


def say(*words):
    print(anonymous(" ".join(str(word) for word in words)), flush=True)


def lasting(ttl):
    """A time to live, rounded up to tens, so that it is the same some seconds later."""
    return ttl and -(-ttl // 10) * 10
