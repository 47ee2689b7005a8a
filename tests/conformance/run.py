"""Runs programs that use Alpaca's official SDKs, as their users do, against `nalpaca sim`: `make conformance`.

Each program gets two simulators of its own: one that lives now, to trade on, and one that lives in a known past, sixty
times as fast, for what is slow to come or must be known (minute bars, news, a split). Its environment says where:

    SIM_URL, SIM_WS_URL             http://127.0.0.1:PORT and ws://127.0.0.1:PORT of the first
    SIM_PAST_URL, SIM_PAST_WS_URL   and of the second, which begins at SIM_PAST_START
    SIM_API_KEY, SIM_API_SECRET     the keys of both

It prints what it is going to check and what became of it, one line each, with tabs between the words:

    plan    NAME
    ok      NAME
    failed  NAME    expected ..., got ...

A check that was planned and not reported has failed, so that a program that dies early cannot look well. Everything
else that a program prints is shown when it fails. Needs the standard library alone; `scripts/tools.sh conformance` puts
the SDKs under .tools/.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / ".tools"
KEYS = {"SIM_API_KEY": "conformance-key", "SIM_API_SECRET": "conformance-secret"}

# A quota that no program reaches, and orders that meet prices often: nothing waits longer than it must.
SIM = ["--listen", "127.0.0.1:0", "--rate-limit", "1000000", "--tick-ms", "20", "--seed", "1"]
# Ten in the morning of a Tuesday before Thanksgiving, four days after a split.
PAST_START = "2024-11-26T15:00:00Z"
PAST = ["--start", PAST_START, "--speed", "60", "--split", "AAPL=4:1@2024-11-22"]
REACHABLE_SECONDS = 20
PROGRAM_SECONDS = 180
END_SECONDS = 10
# Lines of a failed program's own words, none of them twice.
SHOWN = 100


def python():
    return [sys.executable, str(HERE / "python" / "main.py")], {"PYTHONPATH": str(TOOLS / "conformance-python")}


def go():
    return [str(TOOLS / "conformance-go" / "conformance")], {}


def js():
    return ["node", str(HERE / "js" / "main.cjs")], {"NODE_PATH": str(TOOLS / "conformance-js" / "node_modules")}


PROGRAMS = {"python": python, "go": go, "js": js}


class Simulator:
    """A running `nalpaca sim` on a port of its own choosing."""

    def __init__(self, nalpaca, log, more=()):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SIM_")}
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [nalpaca, "sim", *SIM, *more], env={**environment, **KEYS}, stdout=output, stderr=subprocess.STDOUT
            )

    def url(self):
        """Waits until it answers, and says where."""
        until = time.monotonic() + REACHABLE_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"http://127\.0\.0\.1:\d+", self.log.read_text(errors="replace"))
            if found and answers(found[0]):
                return found[0]
            time.sleep(0.05)
        raise RuntimeError(f"the simulator is not reachable, it says:\n{self.log.read_text(errors='replace')}")

    def end(self):
        end(self.process)


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/_sim/state", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def end(process):
    """Ends a process that may have ended, politely at first."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Report:
    """What a program has said so far. Prints each result as it comes."""

    def __init__(self, program):
        self.program = program
        self.planned = []
        self.results = {}
        self.other = []
        self.since = time.monotonic()

    def read(self, line):
        words = line.split("\t", 2)
        if words[0] == "plan" and len(words) == 2:
            self.planned.append(words[1])
        elif words[0] in ("ok", "failed") and len(words) >= 2:
            self.result(words[1], words[0], words[2] if len(words) == 3 else "")
        elif line not in self.other[-SHOWN:]:
            self.other.append(line)

    def result(self, name, word, why):
        self.results[name] = word
        now = time.monotonic()
        print(f"{self.program:7} {word:7} {name} ({now - self.since:.1f} s){': ' + why if why else ''}", flush=True)
        self.since = now

    def close(self, why):
        for name in self.planned:
            if name not in self.results:
                self.result(name, "failed", f"expected a result, got none: {why}")
        if why or not self.planned:
            self.result("the program itself", "failed", f"expected it to end well, got: {why or 'no checks'}")
        failed = sum(word == "failed" for word in self.results.values())
        if failed:
            print("".join(f"{self.program:7} | {line}\n" for line in self.other[-SHOWN:]), end="", flush=True)
        return len(self.results) - failed, failed


def run(name, nalpaca, seconds):
    """Runs one program; gives how many of its checks passed and failed."""
    command, environment = PROGRAMS[name]()
    report = Report(name)
    if not (shutil.which(command[0]) and all(Path(word).exists() for word in environment.values())):
        return report.close("what it needs is missing: run scripts/tools.sh conformance, which says what")
    with tempfile.TemporaryDirectory(prefix="nalpaca-conformance-") as folder:
        simulators = []
        try:
            simulators.append(Simulator(nalpaca, Path(folder, "now.log")))
            simulators.append(Simulator(nalpaca, Path(folder, "past.log"), PAST))
            addresses = {"SIM_PAST_START": PAST_START}
            for simulator, prefix in zip(simulators, ("SIM_", "SIM_PAST_")):
                url = simulator.url()
                addresses |= {f"{prefix}URL": url, f"{prefix}WS_URL": url.replace("http", "ws", 1)}
            program = subprocess.Popen(
                command,
                env={**os.environ, **KEYS, **addresses, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            timer = threading.Timer(seconds, end, [program])
            timer.start()
            begun = time.monotonic()
            try:
                for line in program.stdout:
                    report.read(line.rstrip("\n"))
                status = program.wait()
            finally:
                timer.cancel()
                end(program)
            late = time.monotonic() - begun >= seconds
            why = f"it ran longer than {seconds} s" if late else f"exit status {status}"
            why = "" if status == 0 and not late else why
            for simulator in simulators:
                if simulator.process.poll() is not None:
                    said = simulator.log.read_text(errors="replace")[-2000:]
                    why = f"a simulator ended with {simulator.process.returncode}: {said}"
            return report.close(why)
        except RuntimeError as error:
            return report.close(str(error))
        finally:
            for simulator in simulators:
                simulator.end()


def main():
    parser = argparse.ArgumentParser(description="Run programs with the official SDKs against the simulator.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"{', '.join(PROGRAMS)}; all by default")
    parser.add_argument("--nalpaca", default=str(ROOT / "target" / "debug" / "nalpaca"), help="the program to test")
    parser.add_argument("--seconds", type=float, default=PROGRAM_SECONDS, help="how long one program may take")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.programs if name not in PROGRAMS]
    if unknown:
        parser.error(f"no program {', '.join(unknown)}; there are: {', '.join(PROGRAMS)}")
    if not shutil.which(arguments.nalpaca):
        parser.error(f"{arguments.nalpaca} is missing: run cargo build")
    counts = [run(name, arguments.nalpaca, arguments.seconds) for name in arguments.programs or PROGRAMS]
    passed, failed = (sum(column) for column in zip(*counts))
    print(f"\n{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


main()
