"""`file:///run/secrets/token`: a secret in a file, as container platforms mount it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fdi_health.clock import format_timestamp
from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl

_ERRORS: dict[type[OSError], tuple[str, str]] = {
    FileNotFoundError: (
        "is a file that does not exist",
        "Mount the secret there, or correct the path in the secret URL.",
    ),
    NotADirectoryError: (
        "is a file that does not exist",
        "Mount the secret there, or correct the path in the secret URL.",
    ),
    PermissionError: (
        "is a file that may not be read by this process",
        "Allow the function's user to read the file (mode, owner, fsGroup).",
    ),
}
"""Exception → description and next step."""


MAX_FILE_BYTES = 512 * 1024
"""The largest file: a document that FDI_CONFIG names. Secrets are smaller, which `secret_format` checks."""

_OTHER_ERROR = ("is a file that could not be read", "Check the mount.")


@dataclass(frozen=True, slots=True)
class File:
    """The file at `path`. Each read opens it again, because Kubernetes updates a secret by replacing a symlink."""

    path: str

    def read(self, deadline: Deadline) -> Secret:  # noqa: ARG002 -- a file read has no timeout; the caller stops waiting
        """Return the file's bytes; see `SecretStore.read`."""
        try:
            # O_NONBLOCK: opening a named pipe without a writer would block forever.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise build_error("is not a regular file", "Correct the path in the secret URL.")
                with open(descriptor, "rb", closefd=False) as file:
                    data = file.read(MAX_FILE_BYTES + 1)
                if len(data) > MAX_FILE_BYTES:
                    # The beginning of a document may be a whole one, and its targets are not all.
                    raise build_error("is a file that is too large", "Correct the path in the secret URL.")
                return Secret(data, format_timestamp(status.st_mtime))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise build_error(*_ERRORS.get(type(error), _OTHER_ERROR)) from None


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> File:  # noqa: ARG001 -- the signature of every store
    """Return the file that the URL names; raises InvalidSecretUrl."""
    path = unquote(url.place)
    if not path.startswith("/") or "\0" in path or url.query:
        raise InvalidSecretUrl("must be file:// and an absolute path, e.g. file:///run/secrets/token")
    return File(path)
