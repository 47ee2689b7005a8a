"""Runs the clients of every language against the demo: `make clients`.

One demo serves them all: a real nats-server, a simulated Alpaca and the gateway, on this machine. Each client does the same
things, and what it prints is looked at. Needs the standard library alone; `make clients` builds the clients first.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
PROGRAM_SECONDS = 60
DEMO_SECONDS = 90
END_SECONDS = 20

CLIENTS = {
    "python": [sys.executable, str(ROOT / "examples/python/client.py")],
    "go": [str(TOOLS / "clients" / "go")],
    "typescript": ["node", str(ROOT / "examples/typescript/dist/client.js")],
    "rust": [str(TOOLS / "clients" / "rust")],
}
# First token of the ids each makes up.
STRATEGY = {"python": "python", "go": "go", "typescript": "ts", "rust": "rust"}


class Failed(Exception):
    pass


class Demo:
    """The demo as a user runs it, until told to stop."""

    def __init__(self, program, server):
        command = [program, "demo", "--stay", "--nats-server", server]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self.stays = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if "The daemon's log is" in line:
                self.stays.set()
        self.stays.set()

    def url(self):
        if not self.stays.wait(DEMO_SECONDS) or self.process.poll() is not None:
            raise Failed("the demo did not come up:\n" + "".join(self.lines[-40:]))
        found = re.search(r"export NATS_URL=(\S+)", "".join(self.lines))
        if not found:
            raise Failed("the demo names no NATS_URL:\n" + "".join(self.lines[-40:]))
        return found[1]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client:
    def __init__(self, name, environment):
        self.name = name
        self.environment = environment

    def run(self, *words, good=True):
        command = [*CLIENTS[self.name], *map(str, words)]
        ended = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PROGRAM_SECONDS, cwd=ROOT
        )
        text = ended.stdout + ended.stderr
        if (ended.returncode == 0) != good:
            raise Failed(f"{self.name} {' '.join(map(str, words))}: exit {ended.returncode}\n{text}")
        return text


def expect(text, pattern, what):
    if not re.search(pattern, text, re.MULTILINE):
        raise Failed(f"{what}: {pattern!r} is not in\n{text}")


def check(client, nalpaca, scratch):
    strategy = STRATEGY[client.name]
    state = scratch / f"{client.name}.seq"
    expect(client.run("follow", state, "--until-now"), r"^\d+ fill ", "the demo's own orders")
    if client.run("follow", state, "--until-now"):
        raise Failed(f"{client.name} follow: something is told twice")
    expect(client.run("order", "BRK.B", "buy", "2"), rf"^ACCEPTED {strategy}\.", "an order")
    expect(client.run("order", "NOPE", "buy", "1", good=False), rf"^REJECTED {strategy}\.\S+ venue ", "a refused order")
    rests = f"{client.name}.rests"
    nalpaca("buy", "MSFT", "1", "--limit", "1", "--id", rests, "--wait")
    expect(client.run("cancel", rests), rf"^ACCEPTED {re.escape(rests)}", "a cancel")
    deadline = time.monotonic() + 20
    told = ""
    while time.monotonic() < deadline and "canceled" not in told:
        told += client.run("follow", state, "--until-now")
    expect(told, rf"^\d+ fill {strategy}\.\S+ 2$", "the fill")
    expect(told, rf"^\d+ canceled {re.escape(rests)}$", "the cancel's event")
    expect(told, r"^\d+ rejected " + strategy, "the refusal's event")
    sequences = [int(line.split()[0]) for line in told.splitlines()]
    if sequences != sorted(set(sequences)):
        raise Failed(f"{client.name} follow: not each event once and in order\n{told}")
    expect(client.run("positions", "--count", "1"), r"^positions: \[.*\d BRK\.B.*\] as of 20\d\d-", "the positions")
    expect(client.run("bars", "AAPL", "2026-01-02"), r"^2026-01-\d\d AAPL close \d+\.\d\d$", "bars")
    refused = client.run("bars", "AAPL", "not-a-date", good=False)
    expect(refused, r"400: .*start", "a wrong question")
    client.run("no-such-command", good=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(CLIENTS)}; all by default")
    parser.add_argument("--nalpaca", default="target/debug/nalpaca")
    parser.add_argument("--nats-server", required=True)
    wanted = parser.parse_args()
    program = str(ROOT / wanted.nalpaca)
    demo = Demo(program, wanted.nats_server)
    try:
        environment = {**os.environ, "NATS_URL": demo.url(), "PYTHONPATH": str(TOOLS / "python")}

        def nalpaca(*words):
            ended = subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=PROGRAM_SECONDS)
            if ended.returncode:
                raise Failed(f"nalpaca {' '.join(words)}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}")

        with tempfile.TemporaryDirectory() as scratch:
            for name in wanted.clients or CLIENTS:
                begun = time.monotonic()
                check(Client(name, environment), nalpaca, Path(scratch))
                print(f"ok  {name}  {time.monotonic() - begun:.1f} s", flush=True)
    except (Failed, subprocess.TimeoutExpired) as error:
        sys.exit(f"FAILED  {error}")
    finally:
        demo.end()


if __name__ == "__main__":
    main()
