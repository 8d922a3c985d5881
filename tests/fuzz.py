"""`make fuzz`: feeds a fuzzer's bytes to every parser of foreign input, each target for 30 seconds.

It starts from the valid inputs in tests/fuzz_inputs/TARGET/, and writes what it finds there as a file. `make test`
replays all of them. Usage: python -m tests.fuzz [TARGET|all] [SECONDS].
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from marshmallow import ValidationError

from fdi_health.credentials.api_keys import parse_api_keys
from fdi_health.credentials.secret_format import parse_secret
from fdi_health.errors import CheckError
from fdi_health.redaction import redact
from fdi_health.secret_stores import InvalidSecretUrl, open_store, parse_secret_url
from fdi_health.transport.retry import retry_after
from handlers.triggers.aws_lambda import normalised
from handlers.triggers.event_sanitizer import body
from schemas import config_document, query, settings, strict_json
from schemas.statistics import StatisticsSchema

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS = Path(__file__).parent / "fuzz_inputs"
SECONDS = 30


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def strict_json_target(data: bytes) -> None:
    """A JSON document is read, or refused with one kind of error."""
    with contextlib.suppress(strict_json.InvalidJSON):
        json.dumps(strict_json.loads(data), allow_nan=False).encode()


def statistics_target(data: bytes) -> None:
    """An upstream's answer has all counts in range, or is refused."""
    try:
        loaded = StatisticsSchema().load(strict_json.loads(data))
    except (strict_json.InvalidJSON, ValidationError):
        return
    for group in loaded.values():
        assert all(type(count) is int and 0 <= count <= 999_999_999_999 for count in group.values())


def secret_target(data: bytes) -> None:
    """A secret is a sendable token or credentials, or refused without a part of it."""
    for key in (None, "token", "roma"):
        with contextlib.suppress(CheckError):
            parse_secret(data, key)
    with contextlib.suppress(CheckError):
        parse_api_keys(data, None)


def secret_url_target(data: bytes) -> None:
    """A secret URL opens a vault, or is refused."""
    with contextlib.suppress(InvalidSecretUrl):
        open_store(parse_secret_url(_text(data)), {})


def settings_target(data: bytes) -> None:
    """Settings are loaded, or all their faults are named."""
    names = [
        "FDI_ENDPOINT",
        "FDI_REGION",
        "FDI_INSTANCES",
        "FDI_DEADLINE_SECONDS",
        "FDI_ALLOW_EMPTY",
        "FDI_MIN_TASKS",
        "FDI_MUTE",
        "FDI_IAM_ENDPOINT",
    ]
    values = _text(data).split("\0")
    try:
        settings.load(dict(zip(names, values, strict=False)), 0.0)
    except ValidationError as error:
        list(settings.faults(error))


def config_document_target(data: bytes) -> None:
    """A document of several targets is loaded, or all its faults are named."""
    try:
        assert config_document.load(data, 0.0)
    except config_document.ConfigFaults as error:
        assert error.faults


def query_target(data: bytes) -> None:
    """A query and a body are loaded, or refused."""
    first, _, rest = data.partition(b"\0")
    with contextlib.suppress(ValidationError):
        query.load({"instance": [_text(first)], "deadline": [_text(first)], "fail_on": [_text(first)]}, rest)


def foreign_text_target(data: bytes) -> None:
    """Foreign text is cleaned of marker, controls and the secret."""
    cleaned = redact(_text(data), "MIICanary7Qx9Zr4Wd2Lk8", 512)
    if cleaned is not None:
        assert "FDI-OK" not in cleaned.upper()
        assert "Canary7Q" not in cleaned
        assert len(cleaned) <= 512


def retry_after_target(data: bytes) -> None:
    """A Retry-After is a number of seconds or nothing."""
    found = retry_after({"Retry-After": data.decode("latin-1")}, 0.0)
    assert found is None or found >= 0


def event_target(data: bytes) -> None:
    """An event is made sound, or is no HTTP request."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return
    normalised(event)
    if isinstance(event, dict):
        body(event)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "strict_json": strict_json_target,
    "statistics": statistics_target,
    "secret": secret_target,
    "secret_url": secret_url_target,
    "settings": settings_target,
    "config_document": config_document_target,
    "query": query_target,
    "foreign_text": foreign_text_target,
    "retry_after": retry_after_target,
    "event": event_target,
}


def main() -> int:
    """Fuzz one target or each, in a process of its own; returns how many found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="?", choices=("all", *TARGETS), default="all")
    parser.add_argument("seconds", nargs="?", type=int, default=SECONDS)
    parser.add_argument("--corpus", help="fuzz in this process; what is thought up goes into this folder")
    options = parser.parse_args()
    if options.corpus:
        return _fuzz(options.target, options.seconds, options.corpus)
    names = list(TARGETS) if options.target == "all" else [options.target]
    failed = [name for name in names if _found(name, options.seconds)]
    print(f"{len(names)} targets, {options.seconds} s each; found something: {', '.join(failed) or 'none'}")
    return len(failed)


def _found(name: str, seconds: int) -> bool:
    print(f"\n{name}", flush=True)
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, "-m", "tests.fuzz", name, str(seconds), "--corpus", corpus]
        return subprocess.run(command, check=False).returncode != 0  # noqa: S603 -- ourselves


def _fuzz(name: str, seconds: int, corpus: str) -> int:
    """Fuzz here; it ends the process."""
    import atheris  # only here: it instruments what is loaded, and exists for few Pythons

    atheris.instrument_all()
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-verbosity=0",
        "-print_final_stats=1",
        f"-artifact_prefix={INPUTS / name}/",
        corpus,
        str(INPUTS / name),
    ]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
