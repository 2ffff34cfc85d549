"""python-etcd and one member: keys, conditions, times to live, watches, statistics, members, authentication."""

import threading

import etcd
from etcd import auth

from harness import Cluster, say
from python_etcd_transcript import Transcript

# More than the 1000 events that etcd remembers.
FILL = 1100
FILL_THREADS = 10

cluster = Cluster()
port = cluster.ports[0]
client = etcd.Client(port=port, allow_reconnect=False)
transcript = Transcript(client)
show = transcript.show


def keys():
    show("get missing", client.get, "/nope")
    show("set", client.set, "/a", "1")
    show("set again", client.set, "/a", "2")
    show("set unicode", client.set, "/ä/ключ", "wört \u2603 \U0001F600")
    show("get unicode", client.get, "/ä/ключ")
    show("key with space", client.set, "/with space/x y", "a b+c&d=e%20")
    show("get with space", client.get, "/with space/x y")
    show("special key", client.set, "/s?x#y;z,%25", "q")
    show("set empty", client.set, "/empty", "")
    show("get empty", client.get, "/empty")
    show("set int", client.set, "/int", 7)
    show("set newline", client.set, "/nl", "a\nb\r\nc\0d")
    show("big", lambda: len(client.set("/big", "x" * 1_000_000).value))
    show("set on dir", client.set, "/ä", "v")
    show("below file", client.set, "/a/b", "v")
    show("set keeping", client.set, "/root/../x", "v")
    show("write on root", client.set, "/", "v")
    show("delete root", client.delete, "/", recursive=True)


def directories():
    show("mkdir", client.write, "/d", None, dir=True)
    show("mkdir again", client.write, "/d", None, dir=True)
    show("mkdir prevExist=False", client.write, "/d", None, dir=True, prevExist=False)
    show("mkdir ttl update", client.write, "/d", None, dir=True, ttl=100, prevExist=True)
    show("get dir", client.get, "/d")
    show("append", client.write, "/q", "v1", append=True)
    show("append with ttl", client.write, "/q", "v2", append=True, ttl=60)
    show("append dir", client.write, "/q", None, append=True, dir=True)
    show("append on file", client.write, "/a", "x", append=True)
    show("read sorted", lambda: [node.value for node in client.read("/q", recursive=True, sorted=True).leaves])
    for n in range(3):
        client.set(f"/t/x{n}/y", n)
    show("recursive", client.read, "/t", recursive=True)
    show("read quorum", client.read, "/t/x1/y", quorum=True)
    show("root", lambda: sorted(node.key for node in client.read("/").children))
    show("contains", lambda: ("/a" in client, "/zz" in client))


def conditions():
    show("cas value ok", client.write, "/a", "3", prevValue="2")
    show("cas value bad", client.write, "/a", "3", prevValue="2")
    index = client.get("/a").modifiedIndex
    show("cas index ok", client.write, "/a", "4", prevIndex=index)
    show("cas index bad", client.write, "/a", "4", prevIndex=1)
    show("cas both bad", client.write, "/a", "4", prevIndex=1, prevValue="zz")
    show("cas index NaN", client.write, "/a", "4", prevIndex="abc")
    show("cas missing", client.write, "/nn", "4", prevValue="zz")
    show("cas empty", client.write, "/a", "4", prevValue="")
    show("create existing", client.write, "/a", "4", prevExist=False)
    show("update missing", client.write, "/nn", "4", prevExist=True)
    show("prevExist bad", client.write, "/nn", "4", prevExist="foo")
    show("test_and_set", client.test_and_set, "/a", "5", "4")
    show("test_and_set bad", client.test_and_set, "/a", "5", "4")
    result = client.get("/a")
    result.value = "6"
    show("update(obj)", client.update, result)
    show("update(obj) stale", client.update, result)


def deletes():
    show("delete", client.delete, "/a")
    show("delete again", client.delete, "/a")
    show("delete dir", client.delete, "/t")
    show("delete dir=True nonempty", client.delete, "/t", dir=True)
    show("delete recursive", client.delete, "/t", recursive=True)
    show("delete empty dir", client.delete, "/d", dir=True)
    client.set("/p", "1")
    show("pop", client.pop, "/p")
    client.set("/cad", "1")
    show("cad bad", client.delete, "/cad", prevValue="2")
    show("cad index bad", client.delete, "/cad", prevIndex=3)
    show("cad ok", client.delete, "/cad", prevValue="1")


def expiry(key, index):
    """What a watch from this index tells of a key that expires. Whether it has expired before the watch begins depends on the clock."""
    event = client.watch(key, index=index, timeout=5, recursive=True)
    return event.action, event.key, event._prev_node.value, transcript.index(event.modifiedIndex)


def times_to_live():
    show("ttl", client.set, "/ttl", "v", ttl=30)
    show("ttl NaN", client.set, "/ttlx", "v", ttl="abc")
    show("ttl 0", client.write, "/ttl0", "v", ttl=0)
    # Gone before the next write, so that its removal has the same index with every server.
    show("watch ttl 0", expiry, "/ttl0", client.get("/ttl").modifiedIndex + 2)
    show("ttl negative", client.write, "/ttln", "v", ttl=-1)
    show("ttl get", client.get, "/ttl")
    show("ttl 0 get", client.get, "/ttl0")
    show("ttl negative get", client.get, "/ttln")
    show("refresh", client.refresh, "/ttl", ttl=50)
    show("after refresh", client.get, "/ttl")
    show("refresh missing", client.refresh, "/nottl", ttl=5)
    show("refresh with value", client.write, "/ttl", "v", ttl=5, refresh=True, prevExist=True)
    show("ttl removed", client.write, "/ttl", "v2", prevExist=True)
    index = show("short", client.set, "/short", "v", ttl=2).createdIndex
    show("watch expire", client.watch, "/short", timeout=5)
    show("replay expire", client.watch, "/short", index=index + 1, timeout=5)
    client.write("/dd", None, dir=True, ttl=1)
    index = client.set("/dd/x", 1).modifiedIndex
    show("watch expiring dir", expiry, "/dd", index + 1)
    show("gone", client.get, "/dd/x")


def eternal_watch():
    """Every kind of event, as they happen."""
    first = client.set("/w/first", 0).modifiedIndex
    seen = []

    def watch():
        events = etcd.Client(port=port).eternal_watch("/w", recursive=True, index=first)
        while "delete /w " not in (seen or [""])[-1]:
            event = next(events)
            seen.append(f"{event.action} {event.key} {event.value} {transcript.index(event.modifiedIndex)}")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    cluster.wait_watchers(1)
    client.set("/w/a", 1)
    client.set("/w/a", 2)
    client.write("/w/a", 3, prevValue=2)
    client.write("/w/b", 0, prevExist=False)
    client.write("/w/b", "1", prevExist=True)
    client.delete("/w/b")
    client.write("/w", "o", append=True)
    client.delete("/w", recursive=True)
    watcher.join(10)
    for event in seen:
        say("eternal", event)
    return first


def fill():
    """Writes more than etcd remembers, over a few connections that stay open."""
    def write(thread):
        writer = etcd.Client(port=port)
        for n in range(thread, FILL, FILL_THREADS):
            writer.set("/fill", n)

    threads = [threading.Thread(target=write, args=[n]) for n in range(FILL_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def watches():
    show("watch timeout", client.watch, "/w", timeout=1)
    first = eternal_watch()
    show("watch index past", client.watch, "/w", index=first, recursive=True, timeout=3)
    show("watch future", client.watch, "/w", index=first + 100_000, timeout=1)
    show("watch bad index", client.watch, "/w", index="abc", timeout=1)
    fill()

    def outcome(key):
        try:
            return client.watch(key, index=1, recursive=True, timeout=2).action
        except etcd.EtcdEventIndexCleared as error:
            return "cleared", sorted(error.payload), transcript.index(error.payload["index"])

    show("watch cleared", outcome, "/w")
    show("watch busy key cleared", outcome, "/fill")


def statistics():
    show("version", lambda: (client.version, client.cluster_version))
    show("machines", lambda: client.machines)
    for identity, member in client.members.items():
        # In hexadecimal, without zeros in front.
        say("member", 0 < int(identity, 16) < 1 << 64, sorted(member), member["name"], member["clientURLs"])
    show("leader", lambda: client.leader["name"])
    show("stats", lambda: sorted(client.stats))
    show("stats.leaderInfo", lambda: sorted(client.stats["leaderInfo"]))
    show("leader_stats", lambda: (sorted(client.leader_stats), client.leader_stats["followers"]))
    show("store_stats", lambda: sorted(client.store_stats))


def authentication():
    show("auth active", lambda: auth.Auth(client).active)
    show("auth names", lambda: auth.EtcdUser(client, "root").names)
    user = auth.EtcdUser(client, "joe")
    user.password = "x"
    user.roles = ["guest"]
    show("auth user write", user.write)
    show("auth user read", lambda: auth.EtcdUser(client, "nobody").read())
    show("auth role read", lambda: auth.EtcdRole(client, "guest").read())

    def enable():
        auth.Auth(client).active = True

    show("auth enable", enable)
    # Users are commands, too, where there are users: no index is shown from here on.
    with_password = etcd.Client(port=port, username="root", password="secret")
    show("with basic auth", lambda: with_password.set("/basic", "1").value)


for section in [keys, directories, conditions, deletes, times_to_live, watches, statistics, authentication]:
    say("==", section.__name__)
    section()
