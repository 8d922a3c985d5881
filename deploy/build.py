"""Builds the zip for Huawei Cloud FunctionGraph: `python deploy/functiongraph/build.py [FILE]`.

FILE is build/functiongraph.zip by default. The zip holds the source and what requirements.txt beside this file pins, in
plain Python: FunctionGraph has no step that would install packages, and its machines may be of another kind.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("handlers", "schemas", "fdi_health")
NOT_NEEDED = (
    "fdi_health/__main__.py",
    "fdi_health/cli/",
    "fdi_health/diagnostics/",
    "handlers/container_server.py",
    "handlers/triggers/aws_lambda.py",
)
"""The command line, the container's server and the triggers of other platforms: their packages are not in the zip."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The moment that every entry carries: the same source gives the same bytes."""

_READABLE = 0o100644
"""A regular file that every user may read: one user may unpack the zip and another one run it."""


def main() -> int:
    """Build, and say where and how large."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "functiongraph.zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        packages = Path(folder)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--no-deps", "--require-hashes", "--target", folder]
        requirements = ROOT / "deploy" / "functiongraph" / "requirements.txt"
        subprocess.run([*command, "-r", str(requirements)], check=True)  # noqa: S603 -- pip, with our own file
        theirs = {
            str(path.relative_to(packages)): path
            for path in packages.rglob("*")
            if path.is_file() and path.suffix != ".so" and ".dist-info" not in str(path) and path.parts[-2] != "bin"
        }
        ours = {name: ROOT / name for name in ("main.py", "handlers/openapi.json")}
        ours |= {str(path.relative_to(ROOT)): path for name in OURS for path in (ROOT / name).rglob("*.py")}
        ours |= {str(path.relative_to(ROOT)): path for path in (ROOT / "handlers" / "templates").iterdir()}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in sorted({**theirs, **ours}.items()):
                if not name.startswith(NOT_NEEDED):
                    entry = zipfile.ZipInfo(name, _EPOCH)
                    entry.external_attr = _READABLE << 16
                    archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    print(f"{target}: {target.stat().st_size / 1024 / 1024:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
