"""python-etcd's locks, which queue with keys in order and wait with watches."""

import threading
import time

import etcd

from harness import Cluster, say
from python_etcd_transcript import Transcript

# A lock that is released wakes the next at once. Who is not woken waits 20 s.
WAIT_S, PROMPT_S = 20, 5
CONTENDERS, ROUNDS = 5, 4

cluster = Cluster()
port = cluster.ports[0]
show = Transcript(etcd.Client(port=port)).show


def lock(name):
    """A lock of a client of its own, as another process would have it."""
    return etcd.Lock(etcd.Client(port=port), name)


def hand_over():
    first = lock("l")
    show("lock", first.acquire)
    say("digits of the lock's key", len(first._sequence))
    show("acquired", lambda: first.is_acquired)
    second = lock("l")
    show("nonblocking", second.acquire, blocking=False)
    order = []

    def wait(waiting, name):
        waiting.acquire(blocking=True, timeout=WAIT_S)
        order.append((name, time.time()))
        waiting.release()

    threads = []
    for count, (waiting, name) in enumerate([(second, "second"), (lock("l"), "third")], 1):
        thread = threading.Thread(target=wait, args=[waiting, name])
        thread.start()
        threads.append(thread)
        cluster.wait_watchers(count)
    released = time.time()
    first.release()
    for thread in threads:
        thread.join(WAIT_S)
    say("order", [name for name, _ in order])
    say("prompt", all(when - released < PROMPT_S for _, when in order))


def expiry():
    crashed = lock("ttl")
    crashed.acquire(lock_ttl=1)
    heir = lock("ttl")
    asked = time.time()
    heir.acquire(timeout=WAIT_S)
    say("lock after ttl", 0.5 < time.time() - asked < PROMPT_S, crashed.is_acquired)
    show("renew", heir.acquire, lock_ttl=100)
    heir.release()
    show("acquired after release", lambda: heir.is_acquired)


def same_uuid():
    original = lock("u")
    original.acquire()
    found = lock("u")
    found.uuid = original.uuid
    show("same uuid", found.acquire)
    original.release()


def contention():
    """Never two inside."""
    inside, most, rounds = 0, 0, 0

    def contend():
        nonlocal inside, most, rounds
        for _ in range(ROUNDS):
            with lock("contended"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.005)
                rounds += 1
                inside -= 1

    threads = [threading.Thread(target=contend) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    say("contention", "rounds", rounds, "inside at most", most)


hand_over()
expiry()
with lock("context") as held:
    say("context", held.is_acquired)
same_uuid()
contention()
