"""python-etcd and three members, of which some are killed: whichever is left serves the client and its watch."""

import queue
import threading
import time

import etcd

from harness import Cluster, eventually, say
from python_etcd_transcript import Transcript

# The longest that a write may take to fail when its leader has died, and a bit: five seconds and two elections.
FAILOVER_S = 12
# A client whose member has died asks the next one at once, not when its own time is up.
PROMPT_S = 8

cluster = Cluster(3)
leader = cluster.leader()
# The client's own member, which will be killed first.
own = (leader + 1) % 3


def client_of(first, **named):
    """A client that asks this member first and then the others."""
    hosts = tuple(("127.0.0.1", cluster.ports[(first + n) % 3]) for n in range(3))
    return etcd.Client(host=hosts, allow_reconnect=True, **named)


def value(client):
    return client.get("/r").value


def quorum_value(client):
    return client.read("/r", quorum=True).value


client = client_of(own, read_timeout=10)
transcript = Transcript(client)
show = transcript.show


def members():
    ports = sorted(int(machine.rsplit(":", 1)[1]) for machine in client.machines)
    say("machines", ports == sorted(cluster.ports), "members", len(client.members))
    say("leader ok", client.leader["name"] == f"m{cluster.leader()}")
    follower_only = etcd.Client(port=cluster.ports[own])
    show("leader_stats at follower", lambda: sorted(follower_only.leader_stats))
    followers = etcd.Client(port=cluster.ports[leader]).leader_stats["followers"]
    say("followers", len(followers), sorted(next(iter(followers.values()))))


def watch_all(events):
    """All values of /r from now on, in the background."""
    index = client.set("/r", 0).modifiedIndex

    def watch():
        try:
            for event in client_of(own, read_timeout=15).eternal_watch("/r", index=index + 1):
                events.put(event.value)
        except Exception as error:  # the transcript tells
            events.put(type(error).__name__)

    threading.Thread(target=watch, daemon=True).start()
    cluster.wait_watchers(1, own)


def drain(events, last):
    """The values that came, each once: a write that was tried again may have been executed twice."""
    seen = []
    while not seen or seen[-1] != last:
        try:
            event = events.get(timeout=5)
        except queue.Empty:
            break
        if event not in seen:
            seen.append(event)
    return seen


def kill_own_member():
    show("set at follower", lambda: client.set("/r", 1).value)
    cluster.end(own)
    began = time.time()
    show("set after kill of connected", lambda: client.set("/r", 2).value)
    say("at once", time.time() - began < PROMPT_S)
    cluster.restart(own)


def kill_leader():
    # Elections may have been held meanwhile.
    killed = cluster.leader()
    connected = client_of(killed, read_timeout=10)
    connected.set("/r", 3)
    cluster.end(killed)
    began = time.time()

    def write():
        try:
            return connected.set("/r", 4)
        except etcd.EtcdException:
            return None

    eventually("a write after the leader's death", 2 * FAILOVER_S, write)
    say("failover in time", time.time() - began < FAILOVER_S)
    show("read", value, connected)
    show("machines after kill", lambda: len(connected.machines))
    return killed


def lose_majority(dead):
    """The last of three serves reads that need nobody else, and refuses the rest."""
    cluster.end(cluster.running()[0])
    [left] = cluster.running()
    show("read without majority", value, client_of(left, read_timeout=12))
    shown = {}

    def attempt(what, call):
        # Both take as long as a request may take, so they run beside each other.
        try:
            shown[what] = call()
        except etcd.EtcdException as error:
            shown[what] = f"{type(error).__name__} {error}"

    reader = lambda: quorum_value(client_of(left, read_timeout=20))
    writer = lambda: client_of(left, read_timeout=20).set("/r", 9)
    attempts = [("quorum read", reader), ("write", writer)]
    threads = [threading.Thread(target=attempt, args=pair) for pair in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for what, _ in attempts:
        say(what, "without majority !", shown[what])
    cluster.start(dead)
    cluster.wait(cluster.running())
    show("recovered", lambda: client_of(left).set("/r", 10).value)


members()
events = queue.Queue()
watch_all(events)
kill_own_member()
dead = kill_leader()
say("watch over both deaths", drain(events, "4"))
lose_majority(dead)
