"""Writes docs/configuration.md: every field of a document of several targets; `make docs`.

The fields, their defaults, meanings and examples are those of the schemas that load a document.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from marshmallow import missing

from schemas.config_document import MAX_DOCUMENT_BYTES, MAX_TARGETS
from schemas.config_document.schema import MAX_INSTANCES, PolicySchema, TargetSchema
from schemas.config_document.yaml_reader import MAX_DEPTH

if TYPE_CHECKING:
    from marshmallow import Schema

ROOT = Path(__file__).resolve().parents[1]

EXAMPLE = """\
targets:
  - name: emea
    region: eu-west-101
    project_id: c53626012ba84727b938ca8bf03108ef
    token: file:///run/secrets/emea
    instances:
      payments: fae7ff6c-8e07-4cf8-9e67-589cab2f017c
      crm: 5ff2e8a1-0c0f-4b8e-9d3c-2f6f0a3f7b11
    optional_task_groups: [cdc]
    allow_empty: [crm]
    policy:
      "*":
        min_tasks: 1
      payments:
        min_tasks: 12
        min_running_tasks: 3
        mute: 2026-12-01T22:00+01:00/2026-12-02T06:00+01:00
        muted_tasks:
          nightly-export: 2026-12-31T00:00Z
        note: The warehouse moves on the first weekend.

  - name: apac
    endpoint: https://roma.apac.example
    iam_endpoint: https://iam.apac.example
    project_id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
    token: hashivault://secret/roma#apac
    instances: "*"
    exclude: [sandbox]
    min_instances: 3
    flow_tasks: check
    max_calls_per_second: 5
"""

_HEAD = f"""\
# A document of several targets

`FDI_CONFIG` is the URL of a secret or file (see [secret URLs](contract.md#secret-urls)) with a YAML or JSON document
of several targets: projects, regions and users. It replaces the variables of a single project; the others stay in the
environment. All targets are asked at the same time. Each has its own credentials, connections, hold after a 429 and
threads, so that trouble of one neither delays nor hides another one.

- **Names.** `target` and `name` are two fields everywhere. `instance=payments` asks every match,
  `instance=emea/payments` one, `target=emea` all of a target. A [key](secrets.md#keys-for-callers) may be limited to
  targets.
- **A target without a list of instances is unknown.** The instances of the others are complete. It counts as an
  unknown instance in `fail_on`, and in no number of instances.
- **Changes.** The document is looked at again by a request if the last look is older than 60 s; after 10 minutes that
  request waits for it. A version that cannot be used leaves the last one in use, with the warning `config_rejected`.
  A target that did not change keeps its credentials, cooldowns and connections. `/ready` shows `config`: version,
  time and error. The CA bundle is read once, for all targets: restart the process after a change of it.
- **Threads.** Each target has up to `FDI_MAX_PARALLEL` divided by the number of targets, at least 1.

This page is generated from the schemas by `docs/build_configuration.py`.

## Example

```yaml
{EXAMPLE}```

## Check

In the environment of [the set-up](../README.md#set-up), or with `fdi-health` in place of `python -m fdi_health`:

```
python -m fdi_health doctor --offline --config targets.yaml
```

This reads no secret and connects to nothing. It prints a line for each fault, `FILE:LINE: path: message`, and never a
value. It exits 0, or 10 if there are faults.

## Try it without an account

One simulator plays several projects. Start it in one terminal:

```
python -m simulator --access-key HPUAEXAMPLE:made-up-key \\
  --instance c53626012ba84727b938ca8bf03108ef/id-payments=healthy \\
  --instance 0a1b2c3d4e5f60718293a4b5c6d7e8f9/id-orders=doc_example
```

In another one, write `targets.yaml`:

```yaml
targets:
  - name: emea
    endpoint: http://127.0.0.1:8090
    project_id: c53626012ba84727b938ca8bf03108ef
    token: env://ROMA_KEY
    instances: "*"
  - name: apac
    endpoint: http://127.0.0.1:8090
    project_id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
    token: env://ROMA_KEY
    instances:
      orders: id-orders
```

Then check it:

```
export ROMA_KEY='{{"access_key": "HPUAEXAMPLE", "secret_key": "made-up-key"}}'
export FDI_CONFIG=file://$PWD/targets.yaml
python -m fdi_health check
```

Its first line is `FDI-NOT-OK unhealthy: 2 abnormal tasks in apac/orders (common-task-1, common-task-2)`.

## Form

The document is YAML, or JSON if it begins with `{{`. JSON is loaded several times faster, and its faults have paths and
no lines. A document has at most {MAX_DOCUMENT_BYTES // 1024} KiB, {MAX_TARGETS} targets and {MAX_INSTANCES:,}
instances, and nesting is at most {MAX_DEPTH} deep.

- Every value is the text that stands there, with or without quotes: `0012`, `1e5`, `on`, `off` and `2026-01-01` mean
  themselves. Only `"*"` and texts that begin with another special character of YAML need quotes.
- Refused are anchors, aliases, tags, merge keys (`<<`), duplicate keys, tabs, several documents in one file, unknown
  fields, and fields without a value.
"""


def table(schema: Schema) -> str:
    """Return the table of a schema's fields."""
    lines = ["| Field | Type | Default | Meaning | Example |", "|---|---|---|---|---|"]
    for name, field in schema.fields.items():
        about = field.metadata
        default = field.load_default() if callable(field.load_default) else field.load_default
        shown = "**required**" if field.required else "none" if default is missing or not default else f"`{default}`"
        cells = (f"`{field.data_key or name}`", about["kind"], shown, about["meaning"], f"`{about['example']}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page."""
    return (
        f"{_HEAD}\n## Fields of a target\n\n`targets` is a list of targets. These are the fields of one.\n\n"
        f"{table(TargetSchema())}\nWithout `iam_endpoint`, IAM's address comes from the region.\n\n"
        f"## Fields of a policy\n\n`policy` maps aliases, IDs or `*` to policies. These are the fields of one.\n\n"
        f"{table(PolicySchema())}"
    )


def main() -> int:
    """Write the page."""
    (ROOT / "docs" / "configuration.md").write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
