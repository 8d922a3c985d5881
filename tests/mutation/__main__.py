"""`make mutation`: change the code in thousands of places, one change at a time, and count the changes that tests find.

mutmut makes the changes ("mutants") and runs the tests that reach the changed function. Each group of modules has a
minimum score: the share of mutants that its tests must find. Every mutant that no test found is printed, so that a new
one can be seen among them. Usage: python -m tests.mutation [GROUP ...].

Limits: code that runs at import is not changed, because mutmut changes functions only. Messages are not changed either:
tests hold what a message names, not its wording.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.mutation.groups import GROUPS, Group
from tests.servers import ROOT

# Leaves string literals that contain a space unchanged: those are messages. Names, keys, codes and numbers are changed.
MUTMUT = """
import sys
from mutmut.mutation import mutators
def except_messages(node):
    return () if " " in getattr(node, "value", "") else mutators.operator_string(node)
for index, (kind, operator) in enumerate(mutators.mutation_operators):
    if operator is mutators.operator_string:
        mutators.mutation_operators[index] = (kind, except_messages)
from mutmut.__main__ import cli
cli()
"""

CONFIGURATION = """
[tool.mutmut]
source_paths = ["fdi_health", "handlers", "schemas"]
only_mutate = {modules}
also_copy = ["main.py", "simulator"]
process_isolation = "forkserver"
pytest_add_cli_args = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
pytest_add_cli_args_test_selection = {tests}
timeout_constant = 4.0
timeout_multiplier = 3.0
use_git_change_detection = false
"""

COPIED = ("main.py", "pyproject.toml", "handlers", "schemas", "fdi_health", "simulator", "tests")
LOG_LINES = 60
"""How much of mutmut's log is printed when it fails."""


class Result(NamedTuple):
    """The mutants of a group: how many there are, and the changes that no test found."""

    mutants: int
    survivors: list[str]

    @property
    def percent_found(self) -> float:
        return 100 * (1 - len(self.survivors) / self.mutants)


def main() -> int:
    """Run the named groups, or all; returns 1 if one scores less than its minimum."""
    names = sys.argv[1:] or list(GROUPS)
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        sys.exit(f"unknown group {unknown[0]!r}: there are {', '.join(GROUPS)}")
    failed = []
    for name in names:
        began = time.monotonic()
        group = GROUPS[name]
        result = run(group)
        print(*result.survivors, sep="\n")
        print(
            f"{name}: {result.mutants} mutants, tests found {result.percent_found:.1f} %, minimum "
            f"{group.minimum_percent} % ({time.monotonic() - began:.0f} s)",
            flush=True,
        )
        if result.percent_found < group.minimum_percent:
            failed.append(name)
    if failed:
        print(f"Below the minimum: {', '.join(failed)}. Add a test for a change printed above.")
    return 1 if failed else 0


def run(group: Group) -> Result:
    """Run mutmut on a copy of the repository. Exits with mutmut's log if mutmut itself fails."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, tree / name)
        with (tree / "pyproject.toml").open("a") as file:
            tests = [f"tests/{test}" for test in group.tests]
            file.write(CONFIGURATION.format(modules=json.dumps(group.modules), tests=json.dumps(tests)))
        _mutmut(tree, "run", "--max-children", str(2 * (os.cpu_count() or 1)))
        statuses = _statuses(tree)
        survivors = [name for name, status in statuses.items() if status not in ("killed", "timeout")]
        return Result(len(statuses), [_mutmut(tree, "show", name) for name in survivors])


def _mutmut(tree: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 -- mutmut, with a command line of ours
        [sys.executable, "-c", MUTMUT, *arguments],
        cwd=tree,
        env={**os.environ, "HYPOTHESIS_PROFILE": "mutation"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit("\n".join(done.stdout.replace("\r", "\n").splitlines()[-LOG_LINES:]))
    return done.stdout


def _statuses(tree: Path) -> dict[str, str]:
    """Return the status of each mutant: killed, survived, timeout, no tests, …"""
    from mutmut.stats import status_by_exit_code  # only here: `make mutation` installs it

    metas = sorted((tree / "mutants").rglob("*.meta"))
    exit_codes = {
        name: code for meta in metas for name, code in json.loads(meta.read_text())["exit_code_by_key"].items()
    }
    return {name: status_by_exit_code[code] for name, code in exit_codes.items()}


if __name__ == "__main__":
    sys.exit(main())
