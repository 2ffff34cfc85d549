"""node-etcd and one member, then three, of which the leader is killed. NODE_PATH is the directory in which the package is installed."""

import os

from harness import Cluster, run_client, say

program = ["node", os.path.join(os.path.dirname(os.path.abspath(__file__)), "node/main.js")]

say("== one member")
run_client(program, Cluster(1), limit_s=180)
say("== three members")
run_client(program, Cluster(3), limit_s=180)
