"""Members that python-etcd watches through are stopped in good order (SIGTERM), as in a rolling restart: the watch goes on at another."""

import http.client
import queue
import signal
import threading

import etcd

from harness import Cluster, eventually, say
from python_etcd_transcript import Transcript

cluster = Cluster(3)


def client_of(first):
    hosts = tuple(("127.0.0.1", cluster.ports[(first + n) % 3]) for n in range(3))
    return etcd.Client(host=hosts, allow_reconnect=True, read_timeout=30)


def raw_watch(member, index):
    """A long poll by hand, which shows how it ends."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.ports[member], timeout=30)
    connection.request("GET", f"/v2/keys/w?wait=true&waitIndex={index}")
    return connection


def end_of(connection):
    try:
        response = connection.getresponse()
        return f"status {response.status}, body {response.read()!r}"
    except (OSError, http.client.HTTPException):
        return "the connection breaks"


def stop_under_watch(victim):
    watcher, other = client_of(victim), client_of((victim + 1) % 3)
    index = watcher.set("/w", "before").modifiedIndex
    raw = raw_watch(victim, index + 1)
    seen = queue.Queue()

    def watch():
        try:
            seen.put(next(watcher.eternal_watch("/w", index=index + 1)).value)
        except Exception as error:  # the transcript tells
            seen.put(f"{type(error).__name__}: {error}")

    threading.Thread(target=watch, daemon=True).start()
    cluster.wait_watchers(2, victim)
    cluster.end(victim, signal.SIGTERM)
    say("the long poll:", end_of(raw))

    def write():
        # The leader may be the one that was stopped.
        try:
            return other.set("/w", "after")
        except etcd.EtcdException:
            return None

    eventually("a write after the stop", 20, write)
    try:
        say("eternal_watch:", seen.get(timeout=20))
    except queue.Empty:
        say("eternal_watch: nothing")
    cluster.restart(victim)


Transcript(client_of(0))
leader = cluster.leader()
say("== a follower is stopped")
stop_under_watch((leader + 1) % 3)
say("== the leader is stopped")
stop_under_watch(cluster.leader())
