"""Makes what a release consists of, and checks it. The release workflow calls this, and so does `make release-dry-run`.

    python3 scripts/release.py versions [TAG]        Cargo.toml, the chart and the changelog name one version, TAG's if there is one
    python3 scripts/release.py archive [TRIPLE]      dist/nalpaca-VERSION-TRIPLE.tar.gz, for this machine unless TRIPLE is named
    python3 scripts/release.py sbom                  dist/nalpaca-VERSION.cdx.json: what is inside, in CycloneDX' form
    python3 scripts/release.py chart                 dist/nalpaca-VERSION.tgz: the Helm chart
    python3 scripts/release.py sums                  dist/SHA256SUMS
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DIST = Path("dist")
# Beside the program: what whoever unpacks it wants to read first.
DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", ".env.tmpl", "systemd/nalpaca.service"]


def die(text):
    print(f"release: {text}", file=sys.stderr)
    sys.exit(1)


def run(*command, **options):
    told = subprocess.run(command, text=True, **options)
    if told.returncode:
        die(f"{' '.join(map(str, command))} failed, exit {told.returncode}\n{told.stderr or ''}")
    return told.stdout


def version():
    return re.search(r'^version = "(.+)"$', Path("Cargo.toml").read_text(), re.M)[1]


def versions(tag=None):
    """One version everywhere; a tagged one is in the changelog by its number."""
    ours = version()
    chart = dict(re.findall(r"^(version|appVersion): (\S+)$", Path("helm/Chart.yaml").read_text(), re.M))
    if chart != {"version": ours, "appVersion": ours}:
        die(f"Cargo.toml is {ours}, helm/Chart.yaml is {chart}")
    changes = Path("CHANGELOG.md").read_text()
    if tag is None:
        if not re.search(rf"^## (Unreleased|{re.escape(ours)}\b)", changes, re.M):
            die(f"CHANGELOG.md has neither {ours} nor Unreleased")
    elif tag != f"v{ours}":
        die(f"the tag is {tag}, the version is {ours}")
    elif not re.search(rf"^## {re.escape(ours)}\b", changes, re.M):
        die(f"CHANGELOG.md says nothing of {ours}")
    print(f"release: version {ours}")


def host():
    return re.search(r"^host: (\S+)$", run("rustc", "-vV", stdout=subprocess.PIPE), re.M)[1]


def commit_time():
    """When what is released was committed: the date of every file in an archive, so that two archives are one."""
    return int(run("git", "log", "-1", "--format=%ct", stdout=subprocess.PIPE))


def build(triple):
    """The program, static where the platform knows that."""
    flags = "-C target-feature=+crt-static" if "-linux-" in triple else ""
    revision = run("git", "rev-parse", "--short", "HEAD", stdout=subprocess.PIPE).strip()
    env = {**os.environ, "RUSTFLAGS": flags, "NALPACA_REVISION": revision}
    # A target is named so that only the program is linked statically, not the macros that the compiler loads.
    run("cargo", "build", "--profile", "dist", "--locked", "--bin", "nalpaca", "--target", triple, env=env)
    return Path("target", triple, "dist", "nalpaca"), revision


def check_static(program):
    """It needs no interpreter, so no library: the first program of an empty image."""
    head = program.read_bytes()
    if head[:4] != b"\x7fELF":
        die(f"{program} is no ELF file")
    segments = int.from_bytes(head[32:40], "little")
    size, count = (int.from_bytes(head[at : at + 2], "little") for at in (54, 56))
    kinds = [int.from_bytes(head[segments + size * at :][:4], "little") for at in range(count)]
    if 3 in kinds:  # PT_INTERP
        die(f"{program} is linked dynamically")


def try_in_empty_root(program, revision):
    """Runs it where there is nothing else: no library, no /etc, no time zones."""
    with tempfile.TemporaryDirectory() as root:
        shutil.copy(program, Path(root, "nalpaca"))
        if os.geteuid() == 0:
            command = [shutil.which("chroot"), root]
        else:
            command = [shutil.which("unshare") or "unshare", "--map-root-user", shutil.which("chroot") or "chroot", root]
            if not shutil.which("unshare") or subprocess.run([*command, "/nalpaca", "version"], capture_output=True).returncode:
                print("release: not tried in an empty root: this user may make none", file=sys.stderr)
                return
        told = run(*command, "/nalpaca", "version", env={}, stdout=subprocess.PIPE)
        if version() not in told or revision not in told:
            die(f"in an empty root it says it is {told!r}")
        settings = subprocess.run([*command, "/nalpaca", "check-config"], env={}, capture_output=True, text=True)
        if settings.returncode != 78 or "ALPACA_API_KEY" not in settings.stdout + settings.stderr:
            die(f"in an empty root check-config ends with {settings.returncode}: {settings.stderr}")
    print("release: static, and runs in an empty root")


def archive(triple=None):
    triple = triple or host()
    program, revision = build(triple)
    if "-linux-" in triple:
        check_static(program)
        if triple == host():
            try_in_empty_root(program, revision)
    name = f"nalpaca-{version()}-{triple}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for source in [program, *map(Path, DOCUMENTS)]:
            entry = tar.gettarinfo(str(source), f"{name}/{source.name}")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = commit_time()
            entry.mode = 0o755 if source == program else 0o644
            with source.open("rb") as file:
                tar.addfile(entry, file)
    DIST.mkdir(exist_ok=True)
    place = DIST / f"{name}.tar.gz"
    with place.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as zipped:
        zipped.write(packed.getvalue())
    with tarfile.open(place) as tar:
        inside = {Path(entry.name).name: entry for entry in tar}
    if inside["nalpaca"].mode != 0o755 or len(inside) != len(DOCUMENTS) + 1:
        die(f"{place} holds {sorted(inside)}")
    print(f"release: {place}, {place.stat().st_size / 2**20:.1f} MiB")


def sbom():
    tool = ".tools/bin/cargo-cyclonedx"
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(commit_time())}
    made = Path("nalpaca.cdx.json")
    run(tool, "cyclonedx", "--format", "json", "--target", host(), "--override-filename", "nalpaca.cdx", "--quiet", env=env)
    DIST.mkdir(exist_ok=True)
    place = DIST / f"nalpaca-{version()}.cdx.json"
    made.replace(place)
    bill = json.loads(place.read_text())
    # It lists what the lock file pins for this platform: each with its version, its licence and its hash.
    locked = set(re.findall(r'^name = "(.+)"\nversion = "(.+)"$', Path("Cargo.lock").read_text(), re.M))
    listed = {(part["name"], part["version"]) for part in bill["components"]}
    if not listed <= locked or not {"tokio", "async-nats", "reqwest", "rustls"} <= {name for name, _ in listed}:
        die(f"{place} lists what is not locked: {sorted(listed - locked)[:5]}")
    without = [part["name"] for part in bill["components"] if not part.get("licenses")]
    if without:
        die(f"{place} knows no licence of {without[:5]}")
    print(f"release: {place}, {len(listed)} packages")


def chart():
    helm = shutil.which("helm") or ".tools/bin/helm"
    DIST.mkdir(exist_ok=True)
    run(helm, "package", "helm", "--destination", str(DIST), stdout=subprocess.DEVNULL)
    place = DIST / f"nalpaca-{version()}.tgz"
    with tarfile.open(place) as tar:
        names = set(tar.getnames())
    needed = {"nalpaca/Chart.yaml", "nalpaca/values.schema.json", "nalpaca/templates/deployment.yaml", "nalpaca/files/alerts.yaml"}
    strays = {name for name in names if name.startswith("nalpaca/ci/")}
    if not needed <= names or strays:
        die(f"{place} lacks {needed - names}, and has {strays} too much")
    print(f"release: {place}")


def sums():
    files = sorted(path for path in DIST.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    Path(DIST, "SHA256SUMS").write_text("".join(lines))
    print(f"release: {DIST}/SHA256SUMS, {len(lines)} files")


COMMANDS = {"versions": versions, "archive": archive, "sbom": sbom, "chart": chart, "sums": sums}
if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
COMMANDS[sys.argv[1]](*sys.argv[2:])
