"""Where the targets of a process come from: one that the environment describes, or those in a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from fdi_health.credentials.credential_limits import CredentialLimits
from fdi_health.service.paces import Paces
from fdi_health.service.target import open_target
from schemas.targets import from_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fdi_health.clock import Deadline, Instant
    from fdi_health.configuration import Configuration
    from fdi_health.models import VerdictWarning
    from fdi_health.service.config import ConfigState
    from fdi_health.service.target import Limits, Target


class TargetSource(Protocol):
    """Provides the targets."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets in use; none before the first `refresh` of a document."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether the credentials of a target were held once, also of a target that the document no longer names."""
        ...

    @property
    def state(self) -> ConfigState | None:
        """What is known of the document, or None."""
        ...

    def refresh(self, deadline: Deadline) -> VerdictWarning | None:
        """Look for another version, and return the warning about one that could not be used.

        Raises:
            CheckError: `settings_invalid`, if there is no usable version at all.

        """
        ...


class OneTarget(NamedTuple):
    """The target that the environment describes."""

    target: Target

    @property
    def targets(self) -> tuple[Target, ...]:
        """It alone."""
        return (self.target,)

    @property
    def is_ready(self) -> bool:
        """See `TargetSource.is_ready`."""
        return self.target.has_token

    @property
    def state(self) -> ConfigState | None:
        """None: there is no document."""
        return None

    def refresh(self, deadline: Deadline) -> VerdictWarning | None:  # noqa: ARG002 -- the signature of every source
        """Return None: the environment does not change."""
        return None


def open_source(
    configuration: Configuration, environ: Mapping[str, str], limits: Limits, clock: Callable[[], Instant]
) -> TargetSource:
    """Return what provides the targets; connects to nothing, reads no document and starts no thread.

    Args:
        configuration: what the environment says.
        environ: the process's environment.
        limits: what all targets have in common.
        clock: reads both clocks.

    """
    if configuration.config is not None:
        from fdi_health.service.config import DocumentTargets

        return DocumentTargets(configuration.config, environ, limits, clock)
    settings, paces = from_settings(configuration.settings), Paces()
    paces.set_rates([settings])
    credential_limits = CredentialLimits(clock)
    return OneTarget(open_target(settings, configuration.token, environ, limits, clock, paces, credential_limits))
