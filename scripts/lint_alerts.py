"""Holds the alerts and the dashboard against the metrics, conditions and outcomes there are, and against the runbook; tries them.

    PYTHONPATH=.tools/lint python3 scripts/lint_alerts.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ALERTS = "helm/files/alerts.yaml"
faults = []


def expect(holds, text):
    if not holds:
        faults.append(text)


families = Path("src/telemetry/metrics/families.rs").read_text()
metrics = set(re.findall(r'const \w+: &str = "(nalpaca_[a-z_]+)"', families))
words = {
    "name": set(re.findall(r'=> "([a-z_]+)"', Path("src/domain/gateway.rs").read_text())),
    "mode": set(re.findall(r'=> "([a-z_]+)"', Path("src/domain/gateway.rs").read_text())),
    "outcome": set(re.findall(r'=> "([a-z_]+)"', Path("src/domain/outcome.rs").read_text())),
    "status": set(re.findall(r'=> "([0-9a-z]+)"', Path("src/telemetry/metrics.rs").read_text())),
}
entries = set(re.findall(r"^## (\w+)$", Path("docs/runbook.md").read_text(), re.M))
rules = [rule for group in yaml.safe_load(Path(ALERTS).read_text())["groups"] for rule in group["rules"]]
names = [rule["alert"] for rule in rules]
expect(len(set(names)) == len(names), "an alert is there twice")
expect(set(names) == entries, f"alerts and runbook differ: {set(names) ^ entries}")
for rule in rules:
    for metric in re.findall(r"nalpaca_[a-z_]+", rule["expr"]):
        base = re.sub("_(bucket|count|sum)$", "", metric)
        expect(metric in metrics or base in metrics, f"{rule['alert']}: there is no metric {metric}")
    for label, text in re.findall(r'(\w+)=~?"([^"]*)"', rule["expr"]):
        for word in text.split("|"):
            expect(word in words[label], f"{rule['alert']}: no {label} is {word!r}")
    expect(rule["labels"]["severity"] in ["critical", "warning"], f"{rule['alert']}: how bad is it?")

# Every metric is to be seen somewhere, and what is shown exists.
board = json.loads(Path("helm/files/dashboard.json").read_text())
shown = set()
places = set()
for panel in board["panels"]:
    for target in panel["targets"]:
        for metric in re.findall(r"nalpaca_[a-z_]+", target["expr"]):
            base = re.sub("_(bucket|count|sum)$", "", metric)
            expect(metric in metrics or base in metrics, f"dashboard, {panel['title']}: there is no metric {metric}")
            shown |= {metric, base}
    place = panel["gridPos"]
    cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
    expect(not cells & places and place["x"] + place["w"] <= 24, f"dashboard, {panel['title']}: lies over another")
    places |= cells
expect(metrics <= shown, f"metrics nobody sees on the dashboard: {metrics - shown}")

promtool = shutil.which("promtool", path=f".tools/bin:{os.environ['PATH']}")
if promtool:
    config = ["check", "config", "--syntax-only", "monitoring/prometheus.yaml"]
    for command in [config, ["check", "rules", ALERTS], ["test", "rules", "scripts/alerts_test.yaml"]]:
        told = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=120)
        expect(told.returncode == 0, f"promtool {' '.join(command)}: {told.stdout}{told.stderr}")
else:
    print("the alerts were NOT tried: there is no promtool (Debian: apt-get install prometheus)", file=sys.stderr)
    if os.environ.get("CI"):
        sys.exit(1)

for fault in faults:
    print(fault, file=sys.stderr)
if faults:
    sys.exit(1)
print(f"{len(names)} alerts and {len(board['panels'])} panels: their metrics and words exist, and each has its entry in the runbook")
