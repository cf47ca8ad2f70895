#!/usr/bin/env python3
"""The alerts and the Grafana dashboard in packaging/monitoring: held to the metrics and reasons that there are, and the alerts run by promtool.

Every name of a metric and of a label must be in docs/metrics.md, which a test holds to the program; every reason in docs/errors.md.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "packaging" / "monitoring"


def main():
    labels = labels_by_metric()
    reasons = set(re.findall(r"^## ([a-z_]+)$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
    assert len(labels) > 30 and len(reasons) > 90, (len(labels), len(reasons))
    board = json.loads((FOLDER / "grafana.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += re.findall(r"^ +expr: (.*)$", (FOLDER / "drawgate.rules.yml").read_text(), re.MULTILINE)
    wrong = [wrong for expression in expressions for wrong in wrong_in(expression, labels, reasons)]
    if wrong:
        sys.exit("monitoring: " + "\n".join(wrong))
    for arguments in (["check", "rules", "drawgate.rules.yml"], ["test", "rules", "drawgate.rules.test.yml"]):
        done = subprocess.run([promtool(), *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            sys.exit(f"monitoring: promtool {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    print(f"monitoring: {len(expressions)} expressions and the alerts' tests passed")


def promtool():
    """The program, here or where conformance/install.sh has put it."""
    return shutil.which("promtool") or str(ROOT / "target" / "tools" / "prometheus" / "usr" / "bin" / "promtool")


def labels_by_metric():
    """What docs/metrics.md says: the labels of each metric; a histogram's series are several."""
    found = {}
    for name, kind, labels in re.findall(r"^\| `(drawgate_[a-z_]+)` \| (\w+) \| (.*?) \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE):
        names = set(re.findall(r"`([a-z]+)`:", labels))
        if kind == "histogram":
            found |= {f"{name}_bucket": names | {"le"}, f"{name}_sum": names, f"{name}_count": names}
        else:
            found[name] = names
    return found


def wrong_in(expression, labels, reasons):
    """What an expression names that there is not."""
    for name, matchers in re.findall(r"(drawgate_[a-z_]+)(?:\{([^}]*)\})?", expression):
        if name not in labels:
            yield f"{expression}: there is no metric {name}"
            continue
        for label, operator, values in re.findall(r"([a-z]+)(=~|!~|!=|=)\"([^\"]*)\"", matchers):
            if label not in labels[name] | {"instance", "job"}:
                yield f"{expression}: {name} has no label {label}"
            elif label == "reason":
                for value in values.split("|"):
                    pattern = value if "~" in operator else re.escape(value)
                    if not any(re.fullmatch(pattern, reason) for reason in reasons):
                        yield f"{expression}: there is no reason {value}"


if __name__ == "__main__":
    main()
