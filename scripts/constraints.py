#!/usr/bin/env python3
"""What AWS's service models say of the parameters of the local cloud's actions, as localcloud/src/api/constraints/*.txt
have it: required, lengths, ranges, value sets, patterns of one character class. The models are botocore's.

    target/venv/bin/python scripts/constraints.py   # after docs/actions.md has got new actions
"""

import pathlib
import re
import sys

import botocore
import botocore.session

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVICES = {"autoscaling": "autoscaling", "elasticloadbalancing": "elb", "iam": "iam", "monitoring": "cloudwatch", "sts": "sts"}
# These word what is wrong by themselves, and in another way.
APART = {"GetMetricData", "GetMetricStatistics", "ListMetrics", "PutMetricData"}
DEPTH = 4


def rules(shape, required):
    said = ["required"] if required else []
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.type_name in ("string", "list") and not getattr(shape, "enum", None):
        if low or high:
            said.append(f"length={low or 0}..{high or ''}")
    elif shape.type_name in ("integer", "long", "float", "double") and (low is not None or high is not None):
        said.append(f"value={'' if low is None else low}..{'' if high is None else high}")
    if getattr(shape, "enum", None):
        said.append("enum=" + ",".join(shape.enum))
    pattern = shape.metadata.get("pattern", "")
    if re.fullmatch(r"\[[^\[\]^]+\][+*]", pattern) and " " not in pattern and r"\u" not in pattern:
        said.append("pattern=" + pattern)
    return said


def lines(shape, path=(), seen=()):
    if len(path) > DEPTH or shape.name in seen:
        return
    for name, member in shape.members.items():
        here = (*path, member.serialization.get("name", name))
        if said := rules(member, name in shape.required_members):
            yield f"  {'.'.join(here)} {' '.join(said)}"
        inner = member
        if member.type_name == "list":
            inner = member.member
            if said := rules(inner, False):
                yield f"  {'.'.join(here)}.* {' '.join(said)}"
        if inner.type_name == "structure":
            yield from lines(inner, here if inner is member else (*here, "*"), (*seen, shape.name))


def main():
    actions, service = {}, None
    for line in (ROOT / "docs/actions.md").read_text().splitlines():
        if line.startswith("## "):
            service = line[3:]
        elif match := re.match(r"\| ([A-Z]\w+) \|", line):
            actions.setdefault(service, []).append(match[1])
    session = botocore.session.get_session()
    for signing_name, name in SERVICES.items():
        model = session.get_service_model(name)
        text = [f"# From AWS's service model of {model.metadata['serviceId']}, by scripts/constraints.py."]
        for action in actions[signing_name]:
            shape = model.operation_model(action).input_shape
            said = list(lines(shape)) if shape and action not in APART else []
            text += [action, *said] if said else []
        (ROOT / f"localcloud/src/api/constraints/{signing_name}.txt").write_text("\n".join(text) + "\n")
    print(f"botocore {botocore.__version__}", file=sys.stderr)


main()
