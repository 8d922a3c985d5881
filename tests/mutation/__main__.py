"""`make mutants`: change the code that decides in thousands of ways, and name every change that nothing notices.

A mutant is killed by a test of its module's row in `TESTS`, or by the type checker, which is part of `make check`. One
that survives both needs a reason in reasons.yaml; so does a reason need its mutant, unless it is marked `sometimes`: a
race decides whether that one is noticed. Usage: python -m tests.mutation [ROW ...].
"""

from __future__ import annotations

import ast
import difflib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.servers import ROOT

HERE = Path(__file__).parent

TESTS = {
    "verdict": (
        ["fdi_health/evaluation.py"],
        ["fdi_health/test_evaluation.py", "schemas/test_verdict_document.py", "handlers/test_authentication.py"],
    ),
    "client": (
        [
            "fdi_health/roma/client.py",
            "fdi_health/roma/error_responses.py",
            "fdi_health/roma/error_codes.py",
            "fdi_health/redaction.py",
            "fdi_health/transport/retry.py",
        ],
        [
            "fdi_health/roma/test_client.py",
            "fdi_health/roma/test_error_responses.py",
            "fdi_health/transport/test_retry.py",
            "fdi_health/test_domain.py",
            "fdi_health/test_redaction.py",
            "test_upstream_faults.py",
            "test_fail_closed.py",
            "fdi_health/credentials/test_token_provider.py",
        ],
    ),
    "transport": (
        [
            "fdi_health/transport/client.py",
            "fdi_health/transport/connections.py",
            "fdi_health/transport/connect.py",
            "fdi_health/transport/deadline_socket.py",
            "fdi_health/transport/strict_response.py",
            "fdi_health/transport/exception_mapping.py",
            "fdi_health/transport/proxies.py",
            "fdi_health/transport/tls.py",
        ],
        [
            "fdi_health/transport/test_client.py",
            "fdi_health/transport/test_connect.py",
            "fdi_health/transport/test_connections.py",
            "fdi_health/transport/test_proxies.py",
            "fdi_health/transport/test_tls.py",
            "fdi_health/roma/test_client.py",
            "test_forged_requests.py",
            "test_upstream_faults.py",
            "test_deadline_holds.py",
        ],
    ),
    "checker": (
        ["fdi_health/checker.py", "fdi_health/concurrency/single_flight.py"],
        [
            "fdi_health/test_checker.py",
            "fdi_health/concurrency/test_single_flight.py",
            "fdi_health/credentials/test_token_provider.py",
            "handlers/test_http.py",
            "test_deadline_holds.py",
        ],
    ),
    "tokens": (
        [
            "fdi_health/credentials/token_provider.py",
            "fdi_health/credentials/refreshing_cache.py",
            "fdi_health/credentials/secret_format.py",
            "fdi_health/credentials/token_format.py",
            "fdi_health/moments.py",
        ],
        [
            "fdi_health/credentials/test_refreshing_cache.py",
            "fdi_health/credentials/test_secret_format.py",
            "fdi_health/credentials/test_token_format.py",
            "fdi_health/credentials/test_token_expiry.py",
            "fdi_health/credentials/test_token_provider.py",
            "fdi_health/credentials/test_iam_client.py",
            "fdi_health/test_domain.py",
        ],
    ),
    "iam": (
        [
            "fdi_health/credentials/iam_client.py",
            "fdi_health/credentials/iam_error_codes.py",
            "fdi_health/credentials/cooldown.py",
        ],
        [
            "fdi_health/credentials/test_cooldown.py",
            "fdi_health/credentials/test_iam_client.py",
            "fdi_health/credentials/test_logins.py",
            "fdi_health/credentials/test_token_provider.py",
        ],
    ),
    "schemas": (
        ["schemas/*.py"],
        ["schemas", "test_fail_closed.py", "fdi_health/roma/test_client.py", "handlers/test_http.py"],
    ),
    "callers": (
        ["handlers/authentication.py", "fdi_health/credentials/api_keys.py"],
        ["handlers/test_authentication.py", "fdi_health/credentials/test_api_keys.py"],
    ),
}
"""Row → the modules that are changed, and the tests (below tests/) that have to notice."""

# What runs at import alone is never seen changed: tests make the fields of schemas themselves.
# Words that people read are not changed: what a message has to name is held by tests, its wording is nobody's promise.
# A literal with a space in it is taken for such words. Python's own literals (`None` for an argument, numbers, names,
# keys, codes) are all changed.
PATCHED_MUTMUT = """
import sys
from mutmut.mutation import mutators
def no_prose(node):
    return () if " " in getattr(node, "value", "") else mutators.operator_string(node)
for at, (kind, operator) in enumerate(mutators.mutation_operators):
    if operator is mutators.operator_string:
        mutators.mutation_operators[at] = (kind, no_prose)
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

TREE = ("main.py", "pyproject.toml", "handlers", "schemas", "fdi_health", "simulator", "tests")


class Mutant(NamedTuple):
    """A change that no test noticed.

    Attributes:
        function: module and function, `fdi_health.evaluation.evaluate`.
        was: the lines that it takes away, joined by a space each.
        now: the lines that stand there instead.
        source: the whole module with the change in it.

    """

    function: str
    was: str
    now: str
    path: str
    source: str

    def key(self) -> tuple[str, str, str]:
        """Return what tells it from others for as long as the code stays as it is."""
        return self.function, self.was, self.now


def main() -> int:
    """Run some rows or all; returns 1 if a mutant has no reason or a reason no mutant."""
    rows = sys.argv[1:] or list(TESTS)
    # One reason excuses one mutant: the same change at another line of a function needs a reason of its own.
    entries = yaml.safe_load((HERE / "reasons.yaml").read_text())
    reasons = Counter(_key(entry) for entry in entries if entry["reason"])
    sometimes = {_key(entry) for entry in entries if entry.get("sometimes")}
    wrong = 0
    for row in rows:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            tree = _copy(Path(folder), row)
            statuses = _mutate(tree)
            survivors = [
                _mutant(tree, name) for name, status in statuses.items() if status not in ("killed", "timeout")
            ]
            typed = _refused_by_types(tree, survivors)
        counts = Counter(statuses.values())
        living = [mutant for mutant in survivors if mutant not in typed]
        without = []
        for mutant in living:
            if reasons[mutant.key()] > 0:
                reasons[mutant.key()] -= 1
            else:
                without.append(mutant)
        print(
            f"{row}: {len(statuses)} mutants, {counts['killed'] + counts['timeout']} killed by tests, {len(typed)} by "
            f"types, {len(living) - len(without)} live with a reason, {len(without)} without "
            f"({time.monotonic() - began:.0f} s)",
            flush=True,
        )
        for mutant in without:
            print(
                yaml.safe_dump(
                    [{"function": mutant.function, "was": mutant.was, "now": mutant.now, "reason": ""}],
                    sort_keys=False,
                    width=10_000,
                    allow_unicode=True,
                ),
                flush=True,
            )
        wrong += len(without)
    stale = [key for key in reasons.elements() if key not in sometimes and any(_belongs(key[0], row) for row in rows)]
    for key in stale:
        print(f"A reason without its mutant: {key}")
    return 1 if wrong or stale else 0


def _key(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["function"], entry.get("was", ""), entry.get("now", "")


def _belongs(function: str, row: str) -> bool:
    return any(
        function.replace(".", "/").startswith(module.removesuffix(".py").removesuffix("*")) for module in TESTS[row][0]
    )


def _copy(folder: Path, row: str) -> Path:
    for name in TREE:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, folder / name)
    modules, tests = TESTS[row]
    configuration = CONFIGURATION.format(
        modules=json.dumps(modules), tests=json.dumps([f"tests/{test}" for test in tests])
    )
    with (folder / "pyproject.toml").open("a") as file:
        file.write(configuration)
    return folder


def _mutate(tree: Path) -> dict[str, str]:
    """Run mutmut; returns mutant → killed, survived, timeout, …"""
    command = [sys.executable, "-c", PATCHED_MUTMUT, "run", "--max-children", str(2 * (os.cpu_count() or 1))]
    environ = {**os.environ, "HYPOTHESIS_PROFILE": "mutants"}
    with (tree / "mutmut.log").open("w") as log:
        done = subprocess.run(command, cwd=tree, env=environ, stdout=log, stderr=subprocess.STDOUT, check=False)  # noqa: S603 -- mutmut, with a command line of ours
    if done.returncode:
        lines = (tree / "mutmut.log").read_text().replace("\r", "\n").splitlines()
        sys.exit("\n".join(lines[-60:]))
    from mutmut.stats import status_by_exit_code  # only here: `make mutants` installs it

    found: dict[str, str] = {}
    for meta in sorted((tree / "mutants").rglob("*.meta")):
        found |= {
            name: status_by_exit_code[code] for name, code in json.loads(meta.read_text())["exit_code_by_key"].items()
        }
    return found


def _mutant(tree: Path, name: str) -> Mutant:
    """Return a mutant by its mutmut name: `fdi_health.evaluation.x_evaluate__mutmut_1`."""
    module, _, generated = name.rpartition(".")
    mangled, _, number = generated.rpartition("__mutmut_")
    function = mangled.removeprefix("x_") if mangled.startswith("x_") else mangled.split("ǁ")[-1]
    path = module.replace(".", "/") + ".py"
    before, after = (_function(tree / "mutants" / path, f"{mangled}__mutmut_{which}") for which in ("orig", number))
    before, after = (
        text.replace(f"def {mangled}__mutmut_{which}(", f"def {function}(")
        for text, which in ((before, "orig"), (after, number))
    )
    changes = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    was, now = (" ".join(line[2:].strip() for line in changes if line.startswith(sign)) for sign in ("- ", "+ "))
    owner = mangled.split("ǁ")[1] if "ǁ" in mangled else ""
    source = _with(tree / path, owner, function, before, after)
    return Mutant(".".join(filter(None, (module, owner, function))), was, now, path, source)


def _with(path: Path, owner: str, function: str, before: str, after: str) -> str:
    """Return a module's text with one function, of a class perhaps, replaced."""
    text = path.read_text()
    scope: ast.Module | ast.ClassDef = ast.parse(text)
    if owner:
        scope = next(node for node in scope.body if isinstance(node, ast.ClassDef) and node.name == owner)
    found = [node for node in scope.body if isinstance(node, ast.FunctionDef) and node.name == function]
    lines = text.splitlines(keepends=True)
    for node in found:
        first, last = node.lineno - 1, node.end_lineno
        if "".join(lines[first:last]) == before:
            return "".join((*lines[:first], after, *lines[last:]))
    sys.exit(f"{path}: {owner}.{function} is not found")


@cache
def _functions(path: Path) -> dict[str, str]:
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    return {
        node.name: "".join(lines[node.lineno - 1 : node.end_lineno])
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name
    }


def _function(path: Path, name: str) -> str:
    return _functions(path)[name]


def _refused_by_types(tree: Path, mutants: list[Mutant]) -> list[Mutant]:
    """Return those that `make check` would not let pass: each is put in place and seen by mypy as it is set up here."""
    command = [sys.executable, "-m", "mypy", "main.py", "handlers", "schemas", "fdi_health"]

    def fails() -> bool:
        return subprocess.run(command, cwd=tree, capture_output=True, check=False).returncode != 0  # noqa: S603 -- mypy, with a command line of ours

    if mutants and fails():
        sys.exit("mypy refuses the code as it is")
    # mypy takes a file of the same size and second for the one it has seen, so each text gets a second of its own.
    seconds = itertools.count(1)

    def put(place: Path, text: str) -> None:
        place.write_text(text)
        second = next(seconds)
        os.utime(place, (second, second))

    refused = []
    for mutant in mutants:
        place = tree / mutant.path
        sound = place.read_text()
        put(place, mutant.source)
        if fails():
            refused.append(mutant)
        put(place, sound)
    return refused


if __name__ == "__main__":
    sys.exit(main())
