"""What python-etcd gives to its user, as lines of a transcript."""

import logging

import etcd

from harness import lasting, say

# The client's own log tells of connections that failed, which is the point of some cases.
logging.disable(logging.CRITICAL)


class Transcript:
    """Shows indices as distances from the first write, because members use up some before."""

    def __init__(self, client):
        self.first_index = client.write("/zero", "0").modifiedIndex

    def index(self, index):
        return None if index is None else f"{index - self.first_index:+d}"

    def show(self, tag, call, *args, **named):
        """A line with what the call returned or raised."""
        try:
            result = call(*args, **named)
        except Exception as error:  # whatever a user of the library would see
            say(tag, "!", type(error).__name__, error, self._payload(error))
            return error
        say(tag, "=", self.describe(result) if isinstance(result, etcd.EtcdResult) else result)
        return result

    def _payload(self, error):
        payload = getattr(error, "payload", None)
        if not isinstance(payload, dict):
            return payload
        shown = dict(sorted(payload.items()))
        if "index" in shown:
            # Requests that are refused before they are executed have the index of the store's beginning.
            shown["index"] = self.index(shown["index"])
        return shown

    def describe(self, result):
        """All attributes that are there."""
        etcd_index = getattr(result, "etcd_index", None)
        raft_index = getattr(result, "raft_index", None)
        previous = getattr(result, "_prev_node", None)
        shown = {
            "action": result.action,
            "key": result.key,
            "value": result.value,
            "dir": result.dir,
            "ttl": lasting(result.ttl),
            "expires": bool(result.expiration),
            "created": self.index(result.createdIndex),
            "modified": self.index(result.modifiedIndex),
            "etcd_index": self.index(etcd_index),
            "raft_index": None if raft_index is None else bool(raft_index),
            "new": result.newKey,
            "previous": previous and self.describe(previous),
            "children": self._nodes(result.children) if result.dir else None,
            "leaves": self._nodes(result.leaves) if result.dir else None,
        }
        return {name: value for name, value in shown.items() if value is not None}

    @staticmethod
    def _nodes(nodes):
        return sorted((node.key, node.value, node.dir) for node in nodes)
