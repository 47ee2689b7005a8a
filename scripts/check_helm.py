"""Lints the chart, renders it with every helm/ci/*-values.yaml, and holds the result against Kubernetes' schemas and ours.

    PYTHONPATH=.tools/kubernetes python3 scripts/check_helm.py

NALPACA names the program that is asked whether it takes the settings. Helm is the one on the PATH, or .tools/bin/helm.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HELM = shutil.which("helm") or shutil.which(".tools/bin/helm")
if not HELM:
    print("the chart was NOT checked: there is no Helm, and no Go to make it with", file=sys.stderr)
    sys.exit(1 if os.environ.get("CI") else 0)

import kubernetes_validate
import yaml

CHART = "helm"
# The program whose settings these are; without it nobody asks whether it takes them.
NALPACA = os.environ.get("NALPACA")
# What the names and numbers of streams, consumers and buckets come from.
OBJECT_NAMES = {
    "PREFIX", "ACTION_STREAM", "DATA_STREAM", "JOURNAL_STREAM", "ORDER_CONSUMER", "CANCEL_CONSUMER", "TRADE_UPDATE_CONSUMER",
    "NATS_KV_BUCKET", "ORDERS_BUCKET", "STREAM_REPLICAS", "DATA_STREAM_TICKS",
}
KUBERNETES = ["1.27", "1.32", "1.37"]  # the oldest that Chart.yaml allows, one between, the newest known

faults = []


def expect(holds, text):
    if not holds:
        faults.append(text)


class Refused(Exception):
    """Helm took neither chart nor values, and says why."""


def helm(*arguments, values):
    """What Helm says. Values are checked against the chart's schema, as for a user."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        command = [HELM, *arguments, "--namespace", "trading", "--values", file.name]
        told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if told.returncode:
        raise Refused(told.stdout + told.stderr)
    return told.stdout


def render(values, chart=CHART):
    """The objects, those of the tests among them."""
    return [o for o in yaml.safe_load_all(helm("template", "test", chart, values=values)) if o]


def notes(values):
    """What is told after an installation. Helm shows it to those with a cluster alone, so the file goes into an object."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder, "chart")
        shutil.copytree(CHART, chart)
        Path(chart, "files/notes").write_text(Path(CHART, "templates/NOTES.txt").read_text())
        Path(chart, "templates/notes.yaml").write_text(
            'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n'
            '  notes: {{ tpl (.Files.Get "files/notes") . | toJson }}\n'
        )
        [told] = [o["data"]["notes"] for o in render(values, str(chart)) if o["metadata"]["name"] == "notes"]
    return told


def refuses(values, what):
    """The chart must not take these values."""
    try:
        render(values)
    except Refused:
        return
    faults.append(f"values with {what} were taken")


def nanoseconds(span):
    """A duration as Kubernetes' resources have it, as JetStream has it."""
    seconds = {"h": 3600, "m": 60, "s": 1}
    return sum(int(count) * seconds[unit] for count, unit in re.findall(r"(\d+)([hms])", span)) * 10**9


def declared(env):
    """The streams and consumers the daemon wants to see, by name."""
    printed = subprocess.run([NALPACA, "provision", "--print"], env=env, capture_output=True, text=True, timeout=60, check=True)
    objects = json.loads(printed.stdout)
    consumers = {c["config"]["durable_name"]: {**c["config"], "stream_name": c["stream_name"]} for c in objects["consumers"]}
    return {stream["name"]: stream for stream in objects["streams"]} | consumers


def check_nack(case, objects, env):
    """NACK makes what the daemon would make: no object more, none less, each with the settings that are declared."""
    ours = {"account", "preventDelete"}
    resources = [o for o in objects if o["apiVersion"] == "jetstream.nats.io/v1beta2"]
    if not resources:
        return
    expect(env["PROVISION"] == "verify", f"{case}: daemon and NACK both edit")
    names = {"maxMsgs": "max_msgs", "maxMsgsPerSubject": "max_msgs_per_subject", "replicas": "num_replicas",
             "allowRollup": "allow_rollup_hdrs", "allowMsgSize": "max_msg_size"}
    wanted = declared({name: env[name] for name in env if name in OBJECT_NAMES})
    made = {}
    for resource in resources:
        spec = {}
        for name, value in resource["spec"].items():
            if name in ours:
                continue
            if name in ("maxAge", "duplicateWindow", "ackWait"):
                value = nanoseconds(value)
            spec[names.get(name, re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", name))] = value
        made[spec.get("name") or spec["durable_name"]] = spec
    expect(made.keys() == wanted.keys(), f"{case}: NACK makes {made.keys() ^ wanted.keys()} more or less")
    defaults = (None, 0, False, [], "", {})
    for name in made.keys() & wanted.keys():
        for field in made[name].keys() | wanted[name].keys():
            has, wants = made[name].get(field), wanted[name].get(field)
            same = has == wants or (has in defaults and wants in defaults)
            if isinstance(has, list) and isinstance(wants, list):
                same = sorted(has) == sorted(wants)
            expect(same, f"{case}: NACK's {name}: {field} is {has}, declared {wants}")


def check_objects(case, objects):
    """Rules no schema knows: names, selectors, and what monitors look for."""
    [deployment] = [o for o in objects if o["kind"] == "Deployment"]
    name = deployment["metadata"]["name"]
    for o in objects:
        expect(o["metadata"]["name"].startswith(name) or o["kind"] == "ServiceAccount", f"{case}: {o['kind']} is named otherwise")
        expect(len(o["metadata"]["name"]) <= 63, f"{case}: the name of {o['kind']} is too long")
        expect("LICENSE" not in str(o), f"{case}: a file crept into {o['kind']}")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    ports = {port["name"] for port in template["spec"]["containers"][0].get("ports", [])}
    for o in objects:
        spec = o.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if not selector:
            continue
        wanted = selector.get("matchLabels", selector)
        expect(wanted.items() <= labels.items(), f"{case}: {o['kind']} selects no pod of ours")
        for endpoint in spec.get("endpoints", spec.get("podMetricsEndpoints", [])):
            expect(endpoint["port"] in ports, f"{case}: {o['kind']} scrapes a port nobody has")


def check_deployment(case, values, deployment):
    """What keeps one daemon trading, and lets another one stand by."""
    replicas = deployment["spec"]["replicas"]
    strategy = deployment["spec"]["strategy"]
    one = {"type": "Recreate"}
    two = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    expect(strategy == (one if replicas == 1 else two), f"{case}: an upgrade would run one too many")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    ready = "/readyz" if replicas == 1 else "/readyz?standby=ready"
    env = environment(container)
    expect(env["METRICS_HOST"] == "0.0.0.0", f"{case}: the probes cannot reach the pod")
    if env.get("DISABLE_METRICS") == "true":
        probes = {name: container[name]["grpc"] for name in ["livenessProbe", "readinessProbe"]}
        expect(probes == {
            "livenessProbe": {"port": 7654, "service": "liveness"},
            "readinessProbe": {"port": 7654, "service": "readiness"},
        }, f"{case}: the probes ask elsewhere: {probes}")
        expect(env.get("DISABLE_HEALTH", "false") == "false", f"{case}: the probes ask nobody")
        return
    probes = {name: container[name]["httpGet"] for name in ["livenessProbe", "readinessProbe"]}
    expect(probes == {
        "livenessProbe": {"path": "/livez", "port": "http"},
        "readinessProbe": {"path": ready, "port": "http"},
    }, f"{case}: the probes ask elsewhere: {probes}")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    expect(str(ports["http"]) == env["METRICS_PORT"], f"{case}: the port is not METRICS_PORT")


def environment(container):
    """Variables with what stands for their values: those of secrets are made up."""
    return {entry["name"]: entry.get("value", "made-up") for entry in container["env"]}


def check_pod(case, pod):
    """What the "restricted" pod security standard asks for, and what a daemon finds where its settings say."""
    expect(pod["automountServiceAccountToken"] is False, f"{case}: a service-account token is mounted")
    expect(pod["enableServiceLinks"] is False, f"{case}: service links look like settings")
    expect(pod["securityContext"]["runAsNonRoot"] is True, f"{case}: may run as root")
    expect(pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, f"{case}: no seccomp profile")
    [container] = pod["containers"]
    security = container["securityContext"]
    expect(security["allowPrivilegeEscalation"] is False, f"{case}: may gain privileges")
    expect(security["readOnlyRootFilesystem"] is True, f"{case}: may write to its file system")
    expect(security["capabilities"] == {"drop": ["ALL"]}, f"{case}: keeps capabilities")

    names = [name if (name := entry["name"]) in settings else name.removesuffix("_FILE") for entry in container["env"]]
    expect(len(set(names)) == len(names), f"{case}: a variable is set twice")
    extra = {"TZ"}
    for name in set(names) - extra:
        expect(name in settings, f"{case}: {name} is not in .env.tmpl")
    for entry in container["env"]:
        if re.search("SECRET|PASSWORD|OAUTH|TOKEN|SEED", entry["name"]):
            expect(entry.get("value", "").startswith("/etc/nalpaca/secrets/"), f"{case}: {entry['name']} stands in plain sight")
    mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    expect(mounts.keys() <= volumes.keys(), f"{case}: mounts of no volume: {mounts.keys() - volumes.keys()}")
    files = {
        f"{mounts[name]}/{item['path']}"
        for name, volume in volumes.items()
        for item in (volume.get("secret") or volume.get("configMap") or {}).get("items", [])
    }
    for entry in container["env"]:
        if entry.get("value", "").startswith("/etc/nalpaca/"):
            expect(entry["value"] in files, f"{case}: {entry['name']} names a file that is not mounted")
    if NALPACA:
        env = environment(container)
        # Files are not there; what is in them is the user's.
        for name, value in list(env.items()):
            if value.startswith("/etc/nalpaca/"):
                del env[name]
                if name.endswith("_FILE") and name != "LIMITS_FILE":
                    env[name.removesuffix("_FILE")] = "made-up"
        told = subprocess.run([NALPACA, "check-config"], env=env, capture_output=True, text=True, timeout=60)
        expect(told.returncode == 0, f"{case}: the daemon refuses its settings: {told.stderr}")


settings = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", Path(".env.tmpl").read_text(), re.M))
cases = sorted(Path(CHART, "ci").glob("*-values.yaml"))
expect(cases, "helm/ci has no values to render")
for case in cases:
    values = yaml.safe_load(case.read_text())
    try:
        helm("lint", CHART, "--strict", values=values)
        objects = render(values)
        commands = re.findall(r"^ +(?:kubectl|helm|nats|curl) .+$", notes(values), re.M)
    except Refused as why:
        faults.append(f"{case}: {why}")
        continue
    expect(len(commands) >= 3, f"{case}: the notes tell no three commands: {commands}")
    for version in KUBERNETES:
        for manifest in objects:
            if manifest["apiVersion"].split("/")[0] in ("monitoring.coreos.com", "jetstream.nats.io"):
                continue  # of Prometheus' operator, and of NACK
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as why:
                faults.append(f"{case}: Kubernetes {version}: {manifest['kind']}: {why.message}")
    check_objects(case, objects)
    [deployment] = [manifest for manifest in objects if manifest["kind"] == "Deployment"]
    check_deployment(case, values, deployment)
    pod = deployment["spec"]["template"]["spec"]
    check_pod(case, pod)
    span = environment(pod["containers"][0])["SHUTDOWN_TIMEOUT"]
    expect(pod["terminationGracePeriodSeconds"] > {"30s": 30, "1m30s": 90}[span], f"{case}: killed before it has stopped")
    [test] = [manifest for manifest in objects if manifest["kind"] == "Pod"]
    check_pod(f"{case}, test", test["spec"])
    expect(environment(test["spec"]["containers"][0])["PROVISION"] == "verify", f"{case}: the test changes things")
    if NALPACA:
        check_nack(case, objects, environment(pod["containers"][0]))
    for rule in (o for o in objects if o["kind"] == "PrometheusRule"):
        expect(rule["spec"] == yaml.safe_load(Path(CHART, "files/alerts.yaml").read_text()), f"{case}: the alerts are others")
    for board in (o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"].endswith("-dashboard")):
        shown = json.loads(board["data"]["nalpaca.json"])
        expect(shown == json.loads(Path(CHART, "files/dashboard.json").read_text()), f"{case}: the dashboard is another")
    limits = [o["data"]["limits.toml"] for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"].endswith("-limits")]
    expect(bool(limits) == bool(values.get("limits")), f"{case}: limits and their file do not go together")
    for text in limits if NALPACA else []:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            told = subprocess.run([NALPACA, "limits", "--file", file.name], capture_output=True, text=True, timeout=60)
        expect(told.returncode == 0, f"{case}: the daemon refuses its limits: {told.stderr}")
    if case.name == "go-values.yaml":
        env = environment(pod["containers"][0])
        expected = {
            "ACTION_STREAM": "desk-action-stream-v0", "DATA_STREAM": "desk-data-stream-v0", "NATS_KV_BUCKET": "positions-v0",
            "ORDER_CONSUMER": "desk-orders-consumer-v0", "CANCEL_CONSUMER": "desk-cancel-consumer-v0",
            "ALPACA_API_KEY": "PKEXAMPLE", "NATS_USER": "nalpaca", "LOG_LEVEL": "error",
        }
        expect(expected.items() <= env.items(), f"{case}: old values are lost: {expected.items() - env.items()}")

stream = {"name": "a", "discard": "old", "max_msgs": 5, "max_age": 0, "storage": "file"}
for what, values in {
    "no secret": {"secrets": {"name": ""}},
    "a misspelt name": {"prot": 8088},
    "a misspelt name inside": {"metrics": {"prot": 8088}},
    "a secret in plain sight": {"env": {"ALPACA_API_SECRET": "x"}},
    "an OAuth token in plain sight": {"alpaca": {"oauth": "x"}},
    "a misspelt setting": {"env": {"ORDERS_MAX_INFLIGHT": "8"}},
    "a number where the environment wants text": {"env": {"ORDERS_MAX_IN_FLIGHT": 8}},
    "an unpinned image": {"image": {"tag": "latest"}},
    "a stream that drops commands": {"nats": {"initJob": {"actionStream": stream}}},
    "a stream that drops commands, as text": {"nats": {"initJob": {"actionStream": json.dumps(stream)}}},
    "a stream in memory": {"nats": {"initJob": {"actionStream": {"storage": "memory"}}}},
    "text that is no JSON": {"orders": {"consumerConfig": "{"}},
    "two who edit": {"nack": {"enabled": True}, "nats": {"provision": "adopt"}},
    "autoscaling": {"autoscaling": {"enabled": True}},
    "three daemons": {"replicaCount": 3},
    "a budget for one daemon": {"podDisruptionBudget": {"enabled": True}},
    "a monitor of nothing": {"metrics": {"disabled": True, "podMonitor": {"enabled": True}}},
    "a span nobody can read": {"conf": {"shutdownTimeout": "soon"}},
}.items():
    refuses({**{"secrets": {"name": "alpaca"}}, **values}, what)

# And the other way round: what the program knows can be set, by whichever name.
schema = json.loads(Path(CHART, "values.schema.json").read_text())
given = {"ALPACA_API_KEY", "ALPACA_API_SECRET", "ALPACA_OAUTH", "NATS_PASSWORD", "NATS_TOKEN", "METRICS_HOST", "METRICS_PORT", "INSTANCE"}
files = {"NATS_SEED", "NATS_JWT"}  # as nkey.secretName and creds.secretName
allowed = set(schema["properties"]["env"]["propertyNames"]["enum"])
expect(allowed == settings - given - files, f"values.schema.json, env: {allowed ^ (settings - given - files)}")
every = {name: "1s" for name in allowed}  # any text the grace period can be read from
values = {"secrets": {"name": "alpaca"}, "env": every}
[pod] = [o["spec"]["template"]["spec"] for o in render(values) if o["kind"] == "Deployment"]
expect(every.items() <= environment(pod["containers"][0]).items(), "a setting of env is not rendered as it is")

for fault in faults:
    print(fault, file=sys.stderr)
if faults:
    sys.exit(1)
print(f"helm/ lints and renders with {len(cases)} sets of values; Kubernetes {', '.join(KUBERNETES)} take the result")
