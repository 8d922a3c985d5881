"""Cloud Secret Management Service (CSMS): secrets with versions.

Source: the vendor's API reference of Data Encryption Workshop and its error codes, as gathered in the project's notes
on the upstream.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

from simulator.responses import json_response

if TYPE_CHECKING:
    from simulator.responses import Response

PATH: Final = re.compile(r"/v1/(?P<project>[^/?]*)/secrets/(?P<name>[^/?]*)/versions/(?P<version>[^/?]*)", re.DOTALL)


def csms_error(code: str, message: str, status: int = 400) -> Response:
    """Return an error of CSMS."""
    return json_response({"error": {"error_code": code, "error_msg": message}}, status)


class Csms:
    """Secrets of one project. The simulator's thread reads them; the test's thread changes them.

    Attributes:
        versions: name → the values of its versions, the latest last.
        failures: responses to the next requests, one each, in place of the usual ones.
        pending_deletion: names of secrets that are to be deleted.

    """

    def __init__(self) -> None:
        self.versions: dict[str, list[bytes]] = {}
        self.failures: list[Response] = []
        self.pending_deletion: set[str] = set()

    def put(self, name: str, value: bytes) -> None:
        """Store a value as the latest version of a secret."""
        self.versions.setdefault(name, []).append(value)

    def respond(self, name: str, version: str) -> Response:
        """Return the response to an authorized request for a version of a secret."""
        if self.failures:
            return self.failures.pop(0)
        values = self.versions.get(name, [])
        number = len(values) if version == "latest" else int(version.removeprefix("v") or 0)
        if not 0 < number <= len(values):
            return csms_error("CSMS.0106", "The secret name not found int the db.")
        if name in self.pending_deletion:
            return csms_error("CSMS.0103", "The secret is in the scheduled deletion state.")
        value = values[number - 1]
        document: dict[str, Any] = {
            "version_metadata": {"id": f"v{number}", "secret_name": name, "version_stages": ["SYSCURRENT"]}
        }
        try:
            document["secret_string"] = value.decode()
        except UnicodeDecodeError:
            document["secret_binary"] = base64.b64encode(value).decode()
        return json_response({"version": document})
