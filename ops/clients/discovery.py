"""The discovery service (Debian's etcd-discovery) on top of a server, and members of that server that find each other through it."""

import atexit
import os
import shlex
import subprocess
import urllib.error
import urllib.request

from harness import Cluster, directory, eventually, free_port, get, get_json, say, server_environment


def ask(url, method="GET", data=None):
    """Status and text of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def launch(command, log):
    """A process that ends with the script."""
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=server_environment())

    def end():
        process.kill()
        process.wait()

    atexit.register(end)


home = directory("discovery-")
backend = Cluster()


def start_service():
    port = free_port()
    service = f"http://127.0.0.1:{port}"
    launch(["discovery.etcd.io", "-a", f"127.0.0.1:{port}", "-e", backend.url(0), "-h", service], home + "/service")
    eventually("the discovery service serves", 20, lambda: get(service + "/health"))
    return service


def new_token(service):
    say("bad size", ask(service + "/new?size=x"))
    status, url = ask(service + "/new?size=3")
    token = url.rsplit("/", 1)[1]
    say("new", status, url.replace(token, "TOKEN"), len(token))
    say("size", get_json(url + "/_config/size")["node"]["value"])
    return url


def start_member(name, token):
    """Its client URL."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    flags = {
        "--name": name,
        "--data-dir": f"{home}/{name}",
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        "--discovery": token,
    }
    launch(shlex.split(os.environ["ETCD"]) + [word for flag in flags.items() for word in flag], f"{home}/{name}.log")
    return client


def found_cluster(token):
    clients = [start_member(f"d{n}", token) for n in range(3)]
    for client in clients:
        healthy = lambda: get_json(client + "/health")["health"] == "true"
        eventually("the members found a cluster", 60, healthy)
    members = get_json(clients[0] + "/v2/members")["members"]
    say("members", sorted(member["name"] for member in members))
    registered = sorted(get_json(token)["node"]["nodes"], key=lambda node: node["value"])
    say("registered", [node["value"] for node in registered])
    say("put", ask(clients[1] + "/v2/keys/x", "PUT", b"value=1")[0])
    return registered


def come_too_late(token):
    proxy = start_member("d3", token)
    value = lambda: get_json(proxy + "/v2/keys/x")["node"]["value"]
    say("the fourth is a proxy:", eventually("the proxy serves", 60, value))
    say("members", len(get_json(proxy + "/v2/members")["members"]))


def change(token, registered):
    """Registrations can be changed, a token stays."""
    one = registered[0]["key"].rsplit("/", 1)[1]
    say("delete one", ask(f"{token}/{one}", "DELETE")[0])
    say("put one", ask(token + "/abc", "PUT", b"value=zz")[0])
    say("delete the token", ask(token, "DELETE")[0])
    say("registered", sorted(node["value"] for node in get_json(token)["node"]["nodes"]))


token = new_token(start_service())
registered = found_cluster(token)
come_too_late(token)
change(token, registered)
