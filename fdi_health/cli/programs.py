"""Starts the other programs of this project: the container's server, the simulator and the demo.

They are in packages that this one must not import, so Python runs them in place of this process.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
"""Where the packages are: a clone, or site-packages."""

_NEEDS = {
    # Module → what it needs beyond the smallest installation, and how to get that.
    "handlers.container_server": (
        "granian",
        "pip install '.[server]' in a clone, or the wheel with [server] after its name",
    ),
    "simulator": ("simulator", "use a clone or the wheel; the container image has no simulator"),
    "simulator.demo": ("simulator", "use a clone or the wheel; the container image has no simulator"),
}


def run(module: str, arguments: Sequence[str] = ()) -> NoReturn:
    """Run a module in place of this process, so that it gets the signals.

    Raises:
        CheckError: `settings_invalid`, if what the module needs is not installed.

    """
    needed, remedy = _NEEDS[module]
    if importlib.util.find_spec(needed) is None:
        raise CheckError("settings_invalid", f"{needed} is not installed: {remedy}")
    # With -P the folder that we are in is no place for modules: it may have its own `main` or `handlers`.
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    os.execve(  # noqa: S606 -- a program of ours, no shell
        sys.executable, [sys.executable, "-P", "-m", module, *arguments], {**os.environ, "PYTHONPATH": path}
    )
