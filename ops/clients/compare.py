#!/usr/bin/python3
"""Runs a client's script against two servers and compares what the client saw.

    compare.py SCRIPT --tested 'target/release/uetcd' [--reference 'etcd --enable-v2'] [--in-turn]

SCRIPT is a Python file beside this one, without its ending. A line that only one of the two transcripts has must be declared in
expected.txt, under the heading of docs/differences.md that explains it.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DIFFERENCES = os.path.join(HERE, "../../docs/differences.md")


def read_expected(script):
    """Pairs of a compiled pattern and a heading."""
    # What 2.3.8 does and 3.4 does not needs no heading: uetcd answers as 2.3.8.
    headings = {"2.3.8"}
    with open(DIFFERENCES, encoding="utf-8") as file:
        headings.update(line[4:].strip() for line in file if line.startswith("### "))
    expected = []
    with open(os.path.join(HERE, "expected.txt"), encoding="utf-8") as file:
        for line in file:
            if not line.strip() or line.startswith("#"):
                continue
            scripts, heading, pattern = line.rstrip("\n").split(None, 2)
            if heading not in headings:
                raise SystemExit(f"expected.txt: docs/differences.md has no heading {heading}")
            if script in scripts.split(","):
                expected.append((re.compile(pattern), heading))
    return expected


class Run:
    """A script that runs against one server."""

    def __init__(self, script, server):
        self.server = server
        self.began = time.time()
        # Not a pipe: the script would wait when that is full.
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, script + ".py")],
            env=os.environ | {"ETCD": server, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def lines(self):
        """The transcript, when the script has ended."""
        self.process.wait()
        self.took_s = time.time() - self.began
        self.output.seek(0)
        text = self.output.read().decode("utf-8", errors="backslashreplace")
        if self.process.returncode != 0:
            raise SystemExit(f"{text}\nThe script failed against {self.server}: status {self.process.returncode}.")
        return text.splitlines()

    def end(self):
        """Asks the script to end its servers and itself, unless it has ended."""
        self.process.terminate()
        self.process.wait()


def run_both(script, tested, reference, in_turn):
    """The transcripts of both, and the seconds that the longer one took."""
    runs = []
    try:
        runs.append(Run(script, tested))
        if in_turn:
            got = runs[0].lines()
        runs.append(Run(script, reference))
        if not in_turn:
            got = runs[0].lines()
        want = runs[1].lines()
        return got, want, max(run.took_s for run in runs)
    finally:
        for run in runs:
            run.end()


def judge(got, want, expected):
    """Lines of a diff that nothing declares, and the entries of expected.txt that were needed."""
    undeclared = []
    used = set()
    for line in difflib.ndiff(want, got):
        if line[0] not in "+-":
            continue
        found = [entry for entry in expected if entry[0].match(line[2:])]
        used.update(found)
        if not found:
            undeclared.append(line)
    return undeclared, used


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script")
    parser.add_argument("--tested", required=True)
    parser.add_argument("--reference", default="etcd --enable-v2")
    parser.add_argument("--in-turn", action="store_true", help="one after the other instead of both at the same time")
    options = parser.parse_args()

    expected = read_expected(options.script)
    got, want, took_s = run_both(options.script, options.tested, options.reference, options.in_turn)
    undeclared, used = judge(got, want, expected)
    if undeclared:
        print(f"{options.script}: - {options.reference}, + {options.tested}")
        print("\n".join(undeclared))
        raise SystemExit("Nothing in ops/clients/expected.txt declares these differences.")
    unused = [pattern.pattern for pattern, heading in expected if (pattern, heading) not in used]
    # The reference compared with itself proves the script, and differs in nothing.
    if unused and options.tested != options.reference:
        raise SystemExit(f"{options.script}: expected.txt declares what does not differ any more: {unused}")
    headings = sorted({heading for _, heading in used})
    declared = f", but for {', '.join(headings)}" if headings else ""
    print(f"{options.script}: {len(want)} lines alike{declared} ({took_s:.0f} s)")


main()
