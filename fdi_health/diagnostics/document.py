"""Checks a configuration document without network: its form, and the form of the secret URLs in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from fdi_health.secret_stores import InvalidSecretUrl, parse_secret_url
from schemas.config_document import MAX_DOCUMENT_BYTES, ConfigFault, ConfigFaults, load


class DocumentReport(NamedTuple):
    """What a document has.

    Attributes:
        faults: what is wrong; the other attributes are 0 then.
        targets: how many targets.
        instances: how many instances are named in them.
        discovering: how many targets ask every instance of their project.

    """

    faults: tuple[ConfigFault, ...] = ()
    targets: int = 0
    instances: int = 0
    discovering: int = 0

    def counts(self) -> dict[str, int]:
        """Return the numbers by name."""
        return {"targets": self.targets, "instances": self.instances, "discovering": self.discovering}

    def __str__(self) -> str:
        text = f"{_count(self.targets, 'target')}, {_count(self.instances, 'instance')}"
        if self.discovering:
            text += f", {_count(self.discovering, 'target')} with every instance of the project"
        return text


def check_document(path: str, present: float) -> DocumentReport:
    """Read and check a document.

    Args:
        path: of the file.
        present: the time now, in seconds since the epoch.

    """
    try:
        with Path(path).open("rb") as file:
            targets = load(file.read(MAX_DOCUMENT_BYTES + 1), present, _token_fault)
    except OSError as error:
        return DocumentReport((ConfigFault(None, "", f"cannot be read: {error.strerror}"),))
    except ConfigFaults as error:
        return DocumentReport(error.faults)
    return DocumentReport(
        targets=len(targets),
        instances=sum(len(target.instances) for target in targets),
        discovering=sum(target.discovers for target in targets),
    )


def describe_document(path: str, present: float, *, as_json: bool) -> tuple[list[str], bool]:
    """Return the lines that say what is wrong with a document or what it has, and whether it is valid."""
    report = check_document(path, present)
    if as_json:
        results: list[dict[str, object]] = [fault._asdict() for fault in report.faults] or [{**report.counts()}]
        lines = [json.dumps({"file": path, **result}) for result in results]
    else:
        name = "".join(character if character.isprintable() else "?" for character in path)
        lines = [describe_fault(name, fault) for fault in report.faults] or [f"{name}: {report}"]
    return lines, not report.faults


def describe_fault(path: str, fault: ConfigFault) -> str:
    """Return `FILE:LINE: path: message`; a line or path that is not known is left out."""
    line = f"{path}:{fault.line}" if fault.line else path
    return ": ".join(part for part in (line, fault.path, fault.message) if part)


def _token_fault(text: str) -> str | None:
    try:
        parse_secret_url(text)
    except InvalidSecretUrl as error:
        return str(error)
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
