"""Go's v2 client and one member, then three, of which the leader is stopped and killed. GO_CLIENT is the program built from go/."""

import os

from harness import Cluster, run_client, say

program = [os.environ["GO_CLIENT"]]

say("== one member")
run_client(program, Cluster(1), limit_s=120)
say("== three members")
run_client(program, Cluster(3), limit_s=180, INDICES="hidden")
