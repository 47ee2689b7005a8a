"""Lints the chart, renders it with every helm/ci/*-values.yaml, and holds the result against Kubernetes' schemas.

    PYTHONPATH=.tools/helm python3 scripts/lint_helm.py
"""

import os
import re
import sys
from pathlib import Path

try:
    import helm_python
    import kubernetes_validate
    import yaml
except (ImportError, OSError) as why:
    # The package has builds for few machines. Helm's own command would say the same.
    print(f"the chart was NOT checked: Helm cannot be loaded here ({why})", file=sys.stderr)
    sys.exit(1 if os.environ.get("CI") else 0)

CHART = "helm"
KUBERNETES = ["1.27", "1.32", "1.37"]  # the oldest that Chart.yaml allows, one between, the newest known

faults = []


def expect(holds, text):
    if not holds:
        faults.append(text)


def refuses(values, what):
    """The chart must not take these values."""
    try:
        chart.validate_schema(values)
        chart.render(values, name="test", namespace="trading")
    except helm_python.HelmError:
        return
    faults.append(f"values with {what} were taken")


def check_pod(case, deployment):
    """What the "restricted" pod security standard asks for, and what keeps one gateway per account."""
    expect(deployment["spec"]["replicas"] == 1, f"{case}: more than one gateway")
    expect(deployment["spec"]["strategy"] == {"type": "Recreate"}, f"{case}: an upgrade would run two gateways")
    pod = deployment["spec"]["template"]["spec"]
    expect(pod["automountServiceAccountToken"] is False, f"{case}: a service-account token is mounted")
    expect(pod["terminationGracePeriodSeconds"] >= 45, f"{case}: the grace period is too short")
    expect(pod["securityContext"]["runAsNonRoot"] is True, f"{case}: may run as root")
    expect(pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, f"{case}: no seccomp profile")
    [container] = pod["containers"]
    security = container["securityContext"]
    expect(security["allowPrivilegeEscalation"] is False, f"{case}: may gain privileges")
    expect(security["readOnlyRootFilesystem"] is True, f"{case}: may write to its file system")
    expect(security["capabilities"] == {"drop": ["ALL"]}, f"{case}: keeps capabilities")

    env = {entry["name"]: entry for entry in container["env"]}
    expect(len(env) == len(container["env"]), f"{case}: a variable is set twice")
    for name in env:
        expect(name in settings, f"{case}: {name} is not in .env.tmpl")
    for name in ["ALPACA_API_KEY", "ALPACA_API_SECRET", "NATS_PASSWORD"]:
        expect("valueFrom" in env.get(name, {}), f"{case}: {name} does not come from the secret")
    expect(env.get("METRICS_HOST", {}).get("value") == "0.0.0.0", f"{case}: the probes cannot reach the pod")
    ports = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
    expect(str(ports["http"]) == env.get("METRICS_PORT", {}).get("value"), f"{case}: the port is not METRICS_PORT")
    for probe, path in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
        expect(container[probe]["httpGet"] == {"path": path, "port": "http"}, f"{case}: {probe} asks elsewhere")


settings = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", Path(".env.tmpl").read_text(), re.M))
chart = helm_python.Chart.load(CHART)
cases = sorted(Path(CHART, "ci").glob("*-values.yaml"))
expect(cases, "helm/ci has no values to render")
for case in cases:
    values = yaml.safe_load(case.read_text())
    report = helm_python.lint(CHART, values, strict=True, namespace="trading")
    for message in report["messages"]:
        # 1 is "icon is recommended" and the like.
        expect(message["severity"] < 2, f"{case}: {message['path']}: {message['error']}")
    rendered = chart.render(values, name="test", namespace="trading")
    objects = [o for path, text in rendered.items() if path.endswith(".yaml") for o in yaml.safe_load_all(text) if o]
    for version in KUBERNETES:
        for manifest in objects:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as why:
                faults.append(f"{case}: Kubernetes {version}: {manifest['kind']}: {why.message}")
    deployments = [manifest for manifest in objects if manifest["kind"] == "Deployment"]
    expect(len(deployments) == 1, f"{case}: {len(deployments)} deployments")
    for deployment in deployments:
        check_pod(case, deployment)

good = {"secrets": {"name": "alpaca"}}
refuses({}, "no secret")
refuses({**good, "prot": 8088}, "a misspelt name")
refuses({**good, "env": {"ALPACA_API_SECRET": "x"}}, "a secret in plain sight")
refuses({**good, "env": {"ORDERS_MAX_IN_FLIGHT": 8}}, "a number where the environment wants text")
refuses({**good, "image": {"tag": "latest"}}, "an unpinned image")

for fault in faults:
    print(fault, file=sys.stderr)
if faults:
    sys.exit(1)
print(f"helm/ lints and renders with {len(cases)} sets of values; Kubernetes {', '.join(KUBERNETES)} take the result")
