"""Checks compose.yaml, Dockerfile and .env.tmpl against each other, without Docker.

    PYTHONPATH=.tools/lint python3 scripts/lint_compose.py
"""

import re
import sys
from pathlib import Path

import yaml

NAME = r"[A-Z][A-Z0-9_]*"
# Given to the image build, not read by the program.
BUILD_ONLY = {"NALPACA_REVISION", "RUSTFLAGS"}

faults = []


def expect(holds, text):
    if not holds:
        faults.append(text)


def settings():
    """The names in .env.tmpl. Every line is `NAME=value`, `# NAME=`, other comment, or empty."""
    names = []
    for number, line in enumerate(Path(".env.tmpl").read_text().splitlines(), 1):
        setting = re.fullmatch(rf"({NAME})=(\S.*)", line) or re.fullmatch(rf"# ({NAME})=()", line)
        if setting:
            names.append(setting[1])
            # It would become part of the value, and breaks `export $(grep ... | xargs)`.
            expect(not re.search(r"[\s#'\"]", setting[2]), f".env.tmpl:{number}: blank, # or quote in a value")
        else:
            expect(not line or line == "#" or line.startswith("# "), f".env.tmpl:{number}: neither a setting nor a comment: {line}")
    expect(len(names) == len(set(names)), ".env.tmpl: a name is there twice")
    return set(names)


def pinned(image):
    tag = image.rpartition(":")[2]
    return image == "scratch" or (":" in image and tag != "latest")


def check_compose(known):
    text = Path("compose.yaml").read_text()
    compose = yaml.safe_load(text)
    services = compose["services"]
    for name in set(re.findall(rf"\$\{{({NAME})", text)) - BUILD_ONLY:
        expect(name in known, f"compose.yaml: ${{{name}}} is not in .env.tmpl")
    for service, spec in services.items():
        environment = spec.get("environment", {})
        expect(isinstance(environment, dict), f"compose.yaml: {service}: write its environment as a map")
        for name in environment:
            expect(name in known, f"compose.yaml: {service}: {name} is not in .env.tmpl")
        expect(pinned(spec.get("image", "")), f"compose.yaml: {service}: its image has no pinned tag")
        profiles = set(spec.get("profiles", []))
        for other in spec.get("depends_on", {}):
            expect(other in services, f"compose.yaml: {service}: depends on {other}, which is not there")
            theirs = set(services.get(other, {}).get("profiles", []))
            expect(not theirs or profiles <= theirs, f"compose.yaml: {service}: {other} is in another profile")
        for port in spec.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"compose.yaml: {service}: port {port} is open to the network")
        for volume in spec.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                expect(Path(source).exists(), f"compose.yaml: {service}: {source} does not exist")
                expect(volume.endswith(":ro"), f"compose.yaml: {service}: may write to {source}")
            else:
                expect(source in compose["volumes"], f"compose.yaml: {service}: no such volume: {volume}")


def check_image(known):
    text = re.sub(r"\\\n", " ", Path("Dockerfile").read_text())
    stages = set()
    for image, stage in re.findall(r"^FROM (\S+)(?: AS (\S+))?", text, re.M):
        expect(image in stages or pinned(image), f"Dockerfile: {image} has no pinned tag")
        stages.add(stage)
    for name in re.findall(rf"^ENV ({NAME})=", text, re.M):
        expect(name in known | BUILD_ONLY, f"Dockerfile: {name} is not in .env.tmpl")
    users = re.findall(r"^USER (\d+)", text, re.M)
    expect(users and users[-1] != "0", "Dockerfile: the image runs as root")
    allowed = {line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")}
    for sources in re.findall(r"^COPY ((?!--from)[^\n]*) \S+$", text, re.M):
        for source in sources.split():
            expect(source == "." or source in allowed, f"Dockerfile: {source} is hidden by .dockerignore")
            expect(Path(source).exists(), f"Dockerfile: {source} does not exist")


known = settings()
check_compose(known)
check_image(known)
for fault in faults:
    print(fault, file=sys.stderr)
if faults:
    sys.exit(1)
print(f"compose.yaml, Dockerfile and .env.tmpl agree ({len(known)} settings)")
