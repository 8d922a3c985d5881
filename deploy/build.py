"""Builds the zip for a platform: `python deploy/build.py functiongraph|azure|oracle [FILE]`.

FILE is build/PLATFORM.zip by default. The zip holds the source and, for FunctionGraph, what its requirements.txt pins,
in plain Python: FunctionGraph has no step that would install packages, and its machines may be of another kind. Azure
and Oracle install the requirements.txt in the zip themselves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("handlers", "schemas", "fdi_health")
TRIGGERS = {
    "azure": "handlers/triggers/azure_functions.py",
    "functiongraph": "handlers/triggers/functiongraph.py",
    "lambda": "handlers/triggers/aws_lambda.py",
    "oracle": "handlers/triggers/oracle_functions.py",
}
AT_ROOT = {
    "azure": ("function_app.py", "host.json", "requirements.txt"),
    "functiongraph": (),
    "oracle": ("func.py", "func.yaml", "requirements.txt"),
}
"""Platform → what it looks for at the root, from its folder here."""

NOT_NEEDED = ("fdi_health/__main__.py", "fdi_health/cli/", "fdi_health/diagnostics/", "handlers/container_server.py")
"""The command line and the container's server: their packages are not in the zip."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The moment that every entry carries: the same source gives the same bytes."""

_READABLE = 0o100644
"""A regular file that every user may read: one user may unpack the zip and another one run it."""


def main() -> int:
    """Build, and say where and how large."""
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in AT_ROOT:
        print("usage: python deploy/build.py functiongraph|azure|oracle [FILE]", file=sys.stderr)
        return 2
    platform = sys.argv[1]
    target = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "build" / f"{platform}.zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        packages = _packages(Path(folder)) if platform == "functiongraph" else {}
        at_root = {name: ROOT / "deploy" / platform / name for name in AT_ROOT[platform]}
        _write(target, {**packages, **at_root, **_source(platform)})
    print(f"{target}: {target.stat().st_size / 1024 / 1024:.1f} MB")
    return 0


def _packages(folder: Path) -> dict[str, Path]:
    """Install what FunctionGraph's requirements.txt pins, and return the files that are plain Python."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--no-deps", "--require-hashes", "--target", str(folder)]
    requirements = ROOT / "deploy" / "functiongraph" / "requirements.txt"
    subprocess.run([*command, "-r", str(requirements)], check=True)  # noqa: S603 -- pip, with our own file
    return {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".so" and ".dist-info" not in str(path) and path.parts[-2] != "bin"
    }


def _source(platform: str) -> dict[str, Path]:
    """Return our own files, without what the platform does not run."""
    found = {name: ROOT / name for name in ("main.py", "handlers/openapi.json")}
    found |= {str(path.relative_to(ROOT)): path for name in OURS for path in (ROOT / name).rglob("*.py")}
    found |= {str(path.relative_to(ROOT)): path for path in (ROOT / "handlers" / "templates").iterdir()}
    not_needed = (*NOT_NEEDED, *(trigger for name, trigger in TRIGGERS.items() if name != platform))
    return {name: path for name, path in found.items() if not name.startswith(not_needed)}


def _write(target: Path, files: dict[str, Path]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _READABLE << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    sys.exit(main())
