"""Runs every command of the documents, so that none rots: `make documents`.

Looks for shell blocks, and for commands of ours and of `nats` in the text, and runs each of them against one demo: a real
nats-server, a simulated Alpaca and the gateway. What cannot be run here is in a table below with the reason, and nothing else
goes unrun: a command that is new in a document either works, or fails here.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from run import Demo, Failed  # noqa: E402

DOCUMENTS = ["README.md", "examples/README.md", "helm/README.md", *sorted(map(str, Path("docs").glob("*.md"))), "docs/reference/objects.md"]
COMMAND_SECONDS = 60
# What runs until it is told to stop is told to after so long. It must not have ended before, and not with an error.
LOOK_SECONDS = 3
# Characters shown of what a command said that failed.
SHOWN = 2000

# Commands that are run elsewhere, or cannot be run where there is no cluster: (pattern, why).
ELSEWHERE = [
    (r"make (demo|check|build|test|faults|conformance|clients|documents)\b", "CI runs it"),
    (r"make (python-proto|go-proto)\b", "make clients runs it"),
    (r"(kubectl|helm|docker)\b", "it takes a cluster; make check-helm renders the chart and asks the daemon about its settings"),
    (r"cd examples/", "make clients runs it"),
    (r"nats (account backup|stream edit --replicas)", "it takes a cluster of servers"),
    (r"nalpaca (decode <Message>|decode$|permissions ROLE\.\.\.|permissions$)", "it is no command, but its form"),
    (r"nats stream view", "it turns pages on a terminal"),
    (r"(kill|systemctl)\b", "it names a process of the reader's"),
    (r"nats-server -js$", "the demo runs one"),
    (r"export NATS_URL=", "the demo's own is exported"),
    (r"curl (-s )?localhost:(8088|8090)", "it asks a daemon or a simulator on its usual port; the tests ask on theirs"),
]

# What is written for a reader's own values: (in the document, here).
OWN_VALUES = [
    ("ALPACA_API_KEY=PK... ALPACA_API_SECRET=... NATS_URL=nats://localhost:4222 target/release/nalpaca", "ALPACA_API_KEY=PK1 ALPACA_API_SECRET=x target/release/nalpaca check-config"),
    ("ALPACA_URL=http://127.0.0.1:8090 target/release/nalpaca", "ALPACA_URL=http://127.0.0.1:8090 target/release/nalpaca check-config"),
    ("nalpaca check-config", "ALPACA_API_KEY=PK1 ALPACA_API_SECRET=x nalpaca check-config"),
    ("nalpaca limits --file", "nalpaca limits --file examples/limits.toml"),
    ("nalpaca sim --replay", "nalpaca sim --replay bars.parquet"),
    ("nalpaca sim", "nalpaca sim --listen 127.0.0.1:0"),
]

# These run until they are told to stop.
LONG = [
    r"nalpaca (demo|sim|tail|watch|serve)\b",
    r"nalpaca (top|positions --watch)$",
    r"nats sub\b",
    r"PYTHONPATH=\S+ python3 examples/python/(plot_prices.py|follow_updates.py --state)",
]


def commands(document):
    """The commands of a document: those of its shell blocks, and those in its text, each with its line."""
    text = (ROOT / document).read_text()
    found = []
    for block in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if block[1] not in ("sh", "bash", "shell"):
            continue
        at = text.count("\n", 0, block.start(2)) + 1
        lines = re.sub(r"\\\n\s*", " ", block[2])
        for line in lines.splitlines():
            if line.strip() and not line.strip().startswith("#"):
                found.append((at, line.strip()))
    # Blocks are blanked, so that lines are counted on.
    outside = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    for span in re.finditer(r"`((?:nalpaca|nats|make|kill|curl|kubectl|nats-server) [^`\n]+)`", outside):
        found.append((outside.count("\n", 0, span.start()) + 1, span[1].strip()))
    return found


def elsewhere(command):
    bare = re.sub(r"^([A-Z_]+=\S+ )+", "", command)
    return next((why for pattern, why in ELSEWHERE if re.match(pattern, bare)), None)


def own_values(command):
    without = re.sub(r"\s+#\s.*$", "", command).strip()
    for written, here in OWN_VALUES:
        if without == written:
            return here
    # Simulators of their own, beside each other.
    if re.match(r"(target/release/)?nalpaca sim\b", without) and "--help" not in without and "--listen" not in without:
        return f"{without} --listen 127.0.0.1:0"
    return without


def is_long(command):
    bare = command.replace("target/release/", "")
    return "--help" not in command and any(re.match(pattern, bare) for pattern in LONG)


def run(command, environment, folder):
    """Runs a command. Why it failed, or nothing."""
    long = is_long(command)
    process = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        # Whoever started this in the background may have had SIGINT ignored, and a command would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        output, _ = process.communicate(timeout=LOOK_SECONDS if long else COMMAND_SECONDS)
        output = output[-SHOWN:]
        if long:
            return f"it ended by itself, with {process.returncode}\n{output}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return f"it does not end\n{output}"
        if not long:
            return f"no end within {COMMAND_SECONDS} s\n{output[-SHOWN:]}"
        return None
    if process.returncode:
        return f"exit {process.returncode}\n{output}"
    return None


def is_make(command):
    return re.match(r"make [a-z-]+", command)


def make_exists(command):
    """Whether make knows the target; its recipe is not run."""
    words = shlex.split(command)
    ended = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    return None if ended.returncode == 0 else ended.stderr


def prepare(folder, program):
    """A folder like a reader's: the program where they have it, and the files the commands name."""
    (folder / "target/release").mkdir(parents=True)
    (folder / "target/release/nalpaca").symlink_to(program)
    for name in ["examples", ".tools", "proto"]:
        (folder / name).symlink_to(ROOT / name)
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "nalpaca").symlink_to(program)
    return bin_folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("documents", nargs="*", metavar="DOCUMENT", help="all by default")
    parser.add_argument("--nalpaca", default="target/debug/nalpaca")
    parser.add_argument("--nats-server", required=True)
    parser.add_argument("--nats", required=True, help="the nats CLI")
    wanted = parser.parse_args()
    os.chdir(ROOT)
    program = (ROOT / wanted.nalpaca).absolute()
    failures, ran, passed_over = [], 0, 0
    demo = Demo(str(program), wanted.nats_server)
    scratch = Path(tempfile.mkdtemp(prefix="documents."))
    try:
        bin_folder = prepare(scratch, program)
        (bin_folder / "nats").symlink_to(Path(wanted.nats).absolute())
        environment = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "HOME": str(scratch),
            "NATS_URL": demo.url(),
            "TERM": "dumb",
        }
        # A past that the simulator can replay, as docs/simulator.md has it lying there.
        for command in [
            "nalpaca bars AAPL --start 2026-01-05 --end 2026-01-06 --to past --format parquet",
            "cp $(find past -name '*.parquet' | head -1) bars.parquet",
            "nalpaca bars SPY --start 2026-01-05 --end 2026-01-06 > spy.csv",
            # The order that the recipes cancel and look at.
            "nalpaca buy AAPL 1 --id momentum.0 --wait",
        ]:
            if why := run(command, environment, scratch):
                raise Failed(f"{command}: {why}")
        for document in wanted.documents or DOCUMENTS:
            for line, written in commands(document):
                command = own_values(written)
                if elsewhere(command):
                    passed_over += 1
                    continue
                why = make_exists(command) if is_make(command) else run(command, environment, scratch)
                ran += 1
                if re.search(r"\b(halt|reduce|cancel)[-_]?(only)?\b", command):
                    # What follows is to be let through again.
                    run("nalpaca resume", environment, scratch)
                if why:
                    failures.append(f"{document}:{line}: {written}\n    {why.strip()}")
                    print(f"FAILED  {failures[-1]}", flush=True)
    except Failed as error:
        sys.exit(f"FAILED  {error}")
    finally:
        demo.end()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{ran} commands of the documents ran, {len(failures)} failed; {passed_over} are run elsewhere or take a cluster")
    sys.exit(1 if failures or not ran else 0)


if __name__ == "__main__":
    main()
