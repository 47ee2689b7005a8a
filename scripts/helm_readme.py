"""Writes helm/README.md from the comments in helm/values.yaml; with --check says whether it is as written.

    python3 scripts/helm_readme.py
"""

import re
import sys
from pathlib import Path

VALUES = Path("helm/values.yaml")
README = Path("helm/README.md")

HEAD = """\
# Helm chart

```sh
kubectl create secret generic alpaca --from-literal ALPACA_API_KEY=... --from-literal ALPACA_API_SECRET=...
helm install desk ./helm --set secrets.name=alpaca --set nats.url=nats.messaging:4222
helm test desk
```

The chart never holds a secret: it names an existing one. Values are checked against a closed schema, so that a
misspelt one is an error. Names follow the Go program's chart: its values files install, but for what would lose money, which is
refused with a sentence (a stream of commands that drops the oldest, or lives in memory; an OAuth token in the values).

With `replicaCount: 2` a second daemon stands by. Pods then probe `/readyz?standby=ready`, which standing by satisfies.

## Values

Written by `make helm-readme` from the comments in `values.yaml`. What is empty is the program's default (`.env.tmpl`).

| value | default | |
|---|---|---|
"""


def rows(text):
    """Each value with a comment: its path, its default as it stands there, what it is for."""
    path, comment = [], []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        said = re.fullmatch(r"\s*# (-- )?(.*)", line)
        key = re.fullmatch(r"\s*([A-Za-z][A-Za-z0-9]*):\s*(.*)", line)
        if said:
            comment = [said[2]] if said[1] else comment and [*comment, said[2]]
        elif key:
            path = [*path[: indent // 2], key[1]]
            if comment:
                yield ".".join(path), key[2], " ".join(comment)
            comment = []
        else:
            comment = []


def readme():
    lines = [f"| `{path}` | {f'`{default}`' if default else ''} | {what} |" for path, default, what in rows(VALUES.read_text())]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if README.read_text() != readme():
            sys.exit(f"{README} is not what {VALUES} says; run `make helm-readme`")
    else:
        README.write_text(readme())
