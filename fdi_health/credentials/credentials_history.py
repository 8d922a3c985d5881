"""What a process remembers of its credentials, for /ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdi_health.errors import CheckError
    from fdi_health.models import ProbeResult


class CredentialsHistory:
    """What happened to a target's credentials in this process; /ready reports it.

    Attributes:
        held: whether they were held once; never turns false again.
        refusal: the error of the last check in which ROMA Connect refused the token, or None if it was accepted since.

    """

    def __init__(self) -> None:
        self.held = False
        self.refusal: CheckError | None = None

    def note(self, findings: Sequence[ProbeResult]) -> None:
        """Take over what one check found: a valid result of any instance proves the token."""
        if any(finding.statistics is not None for finding in findings):
            self.refusal = None
            return
        rejected = (f.error for f in findings if f.error is not None and f.error.code == "token_rejected")
        self.refusal = next(rejected, self.refusal)
