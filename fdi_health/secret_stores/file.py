"""`file:///run/secrets/token`: a secret in a file, as container platforms mount it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fdi_health.clock import format_timestamp
from fdi_health.secret_stores import MAX_SECRET_BYTES, InvalidSecretUrl, Secret, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.errors import CheckError
    from fdi_health.secret_stores import SecretUrl

_FAULTS: dict[type[OSError], tuple[str, str]] = {
    FileNotFoundError: ("does not exist", "Mount the secret there, or correct the path in the secret URL."),
    NotADirectoryError: ("does not exist", "Mount the secret there, or correct the path in the secret URL."),
    PermissionError: ("may not be read by this process", "Let the function's user read it (mode, owner, fsGroup)."),
}
"""What the operating system says → what we say."""


@dataclass(frozen=True, slots=True)
class File:
    """The file at `path`; opened by name each time, so that a symlink which Kubernetes swapped is followed anew."""

    path: str

    def read(self, deadline: Deadline) -> Secret:  # noqa: ARG002 -- a file read can't be given one; the caller waits no longer
        """Return the file's bytes; see `SecretStore.read`."""
        try:
            # Not blocking: opening a named pipe that nobody writes to would wait for ever.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise _unavailable("is no regular file", "Let the secret URL name the file itself.")
                with open(descriptor, "rb", closefd=False) as file:
                    return Secret(file.read(MAX_SECRET_BYTES + 1), format_timestamp(status.st_mtime))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unavailable(*_FAULTS.get(type(error), ("could not be read", "Check the mount."))) from None


def _unavailable(state: str, next_step: str) -> CheckError:
    return unavailable(f"is a file that {state}", next_step)


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> File:  # noqa: ARG001 -- every store's signature
    """Return the file that the URL names; raises InvalidSecretUrl."""
    path = unquote(url.place)
    if not path.startswith("/") or "\0" in path or url.query:
        raise InvalidSecretUrl("must be file:// and an absolute path, e.g. file:///run/secrets/token")
    return File(path)
