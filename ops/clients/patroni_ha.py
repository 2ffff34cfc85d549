"""Patroni on three members: it fails over when it must, and only then, whatever happens to the members. Needs root. Takes three minutes.

The transcript is the same with every server, because each step is either as it must be or ends the script.
"""

import os
import signal
import time

from harness import Cluster, eventually, get_json, say
from patroni_nodes import nodes_on

# Longer than the 20 s that the leader's key lives: by then a primary that could not renew it has stepped down.
LIFETIME_S = 25

if os.geteuid() != 0:
    raise SystemExit("Patroni's nodes run as the user postgres, so this needs root.")

cluster = Cluster(3)
nodes = nodes_on(cluster, ["n0", "n1"])


def until(what, limit_s, probe):
    eventually(what, limit_s, probe)
    say("ok", what)


def require(what, condition):
    if not condition:
        raise SystemExit(f"not so: {what}")
    say("ok", what)


def primary():
    return next((node for node in nodes if node.is_primary()), None)


def other(node):
    return nodes[1 - nodes.index(node)]


def stays_primary(node, seconds, what):
    """The primary is the primary all the time, without a new timeline."""
    timeline = node.timeline()
    end = time.time() + seconds
    demoted = 0
    while time.time() < end:
        demoted += not node.is_primary()
        time.sleep(0.3)
    require(what, demoted == 0 and node.timeline() == timeline)


def bootstrap():
    first, second = nodes
    first.start()
    until("the first node becomes the primary", 90, first.is_primary)
    second.start()
    streams = lambda: second.is_replica() and first.sql("select count(*) from pg_stat_replication") == "1"
    until("the second node streams from it", 90, streams)
    first.sql("create table t(x int); insert into t values (1)")


def administration():
    first, second = nodes
    require("patronictl list", first.control("list") == 0)
    edit = ["edit-config", "--force", "-q", "-s", "postgresql.parameters.work_mem=5MB"]
    require("patronictl edit-config", first.control(*edit) == 0)
    reached = lambda: all(node.sql("show work_mem") == "5MB" for node in nodes)
    until("a change of the configuration reaches both", 30, reached)
    require("patronictl show-config", first.control("show-config") == 0)
    for old, new in [(first, second), (second, first)]:
        words = ["switchover", "--leader", old.name, "--candidate", new.name, "--force"]
        require(f"patronictl switchover to {new.name}", first.control(*words) == 0)
        until(f"{new.name} is the primary", 60, lambda: new.is_primary() and old.is_replica())
    for words in [["pause", "--wait"], ["resume", "--wait"], ["history"], ["reinit", "demo", "n1", "--force", "--wait"]]:
        require(f"patronictl {words[0]}", first.control(*words) == 0)
    until("n1 is a replica again", 60, second.is_replica)


def kill_primary():
    old = primary()
    heir = other(old)
    old.kill()
    until("the replica takes over after kill -9 of the primary", 60, heir.is_primary)
    require("the data is there", heir.sql("select count(*) from t") == "1")
    old.start()
    until("the old primary comes back as a replica", 90, old.is_replica)


def kill_leading_member():
    leader = cluster.leader()
    cluster.end(leader)
    stays_primary(primary(), LIFETIME_S, "no demotion when the leading member is killed")
    cluster.restart(leader)


def rolling_restart():
    current = primary()
    before = [len(node.log_text()) for node in nodes]
    for member in range(3):
        cluster.end(member, signal.SIGTERM)
        time.sleep(1)
        cluster.restart(member)
        stays_primary(current, 5, "no demotion when a member is restarted")
    stays_primary(current, LIFETIME_S, "no demotion after all were restarted")
    news = [node.log_text()[seen:] for node, seen in zip(nodes, before)]
    tracebacks = [text[text.index("Traceback"):][:2000] for text in news if "Traceback" in text]
    require("no traceback in Patroni's log" + "".join(f"\n{text}" for text in tracebacks), not tracebacks)


def freeze_leading_member():
    current = primary()
    leader = cluster.leader()
    cluster.send(leader, signal.SIGSTOP)
    time.sleep(6)
    cluster.send(leader, signal.SIGCONT)
    stays_primary(current, 10, "no demotion when the leading member hangs for 6 s")


def lose_majority():
    current = primary()
    for member in [0, 1]:
        cluster.end(member)
    until("the primary steps down without a majority", 60, lambda: not current.is_primary())
    until("its database is read-only", 60, lambda: current.sql("select pg_is_in_recovery()") == "t")
    for member in [0, 1]:
        cluster.start(member)
    cluster.wait(range(3))
    until("there is a primary again", 60, primary)
    until("there is a replica again", 60, lambda: primary() and other(primary()).is_replica())
    require("the data is there", primary().sql("select count(*) from t") == "1")
    tree = get_json(cluster.url(0) + "/v2/keys/service/demo")
    say("keys", sorted(node["key"] for node in tree["node"]["nodes"]))


for step in [bootstrap, administration, kill_primary, kill_leading_member, rolling_restart, freeze_leading_member, lose_majority]:
    say("==", step.__name__)
    step()
