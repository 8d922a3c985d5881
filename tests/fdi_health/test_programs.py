"""`fdi-health serve`, `simulate` and `demo`: which program they become. tests/deploy/test_wheel.py runs them."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.servers import ROOT

if TYPE_CHECKING:
    from tests.fdi_health.conftest import Run


class ReplacedError(SystemExit):
    """Stands for the end of this program: another one has taken its place."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Return the arguments and the environment of the program that takes the place of this one."""
    found: list[tuple[list[str], dict[str, str]]] = []

    def execve(program: str, arguments: list[str], environ: dict[str, str]) -> None:
        found.append((arguments, environ))
        raise ReplacedError(0)

    monkeypatch.setattr(os, "execve", execve)
    return found


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["serve"], ["handlers.container_server"]),
        (["simulate", "--fleet", "3", "--help"], ["simulator", "--fleet", "3", "--help"]),
        (["demo"], ["simulator.demo"]),
    ],
)
def test_command__becomes_its_program(
    run: Run, started: list[tuple[list[str], dict[str, str]]], words: list[str], module: list[str]
) -> None:
    run(*words, PYTHONPATH="/somewhere")
    ((arguments, environ),) = started
    assert arguments == [sys.executable, "-P", "-m", *module]
    assert environ["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/somewhere"]


@pytest.mark.parametrize(
    ("command", "needed"), [("serve", "granian"), ("simulate", "simulator"), ("demo", "simulator")]
)
def test_command__lacks_its_program__says_how_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, needed: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, out, err = run(command)
    assert (code, out) == (3, "")
    assert err.startswith(f"{needed} is not installed: ")
