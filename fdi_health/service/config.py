"""The targets in the document that FDI_CONFIG names.

The document is read again by requests, since a platform may freeze the process between them. A version that cannot be
used leaves the last one in use, with a warning. A target that did not change keeps its credentials, cooldowns, holds
and connections.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.clock import format_timestamp
from fdi_health.configuration import ConfiguredSecret, read_document
from fdi_health.credentials.credential_limits import CredentialLimits
from fdi_health.credentials.refreshing_cache import RefreshingCache
from fdi_health.errors import CheckError, Fault
from fdi_health.models import VerdictWarning
from fdi_health.service.paces import Paces
from fdi_health.service.target import open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.service.target import Limits, Target
    from schemas.targets import TargetSettings

LOOK_SECONDS = 60.0
"""How old the last look at the document may be before a request starts another one beside it."""

WAIT_SECONDS = 600.0
"""How old it may be before a request waits for another one."""

_STEP = "Correct the document that FDI_CONFIG names: python -m fdi_health doctor --config FILE --offline checks it."


class ConfigState(NamedTuple):
    """What callers may know of the document.

    Attributes:
        version: the version of the secret, as its secret store calls it, or None.
        loaded_at: when the document in use was read.
        error: why a newer one could not be used, or None.

    """

    version: str | None
    loaded_at: str
    error: str | None


class _Document(NamedTuple):
    version: str | None
    targets: tuple[tuple[TargetSettings, ConfiguredSecret], ...]

    def __repr__(self) -> str:
        return f"_Document({len(self.targets)} targets)"


class DocumentTargets:
    """The targets in a document. Thread-safe.

    Args:
        secret: where the document is.
        environ: the process's environment.
        limits: what all targets have in common.
        clock: reads both clocks.

    """

    def __init__(
        self, secret: ConfiguredSecret, environ: Mapping[str, str], limits: Limits, clock: Callable[[], Instant]
    ) -> None:
        self._secret, self._environ, self._limits, self._clock = secret, environ, limits, clock
        self._cache: RefreshingCache[_Document] = RefreshingCache(
            lambda call: self._read(call.deadline), clock, limits.read_seconds
        )
        # Kept when the document changes: neither a rate limit that ROMA Connect stated nor a cooldown ends then.
        self._paces, self._credential_limits = Paces(), CredentialLimits(clock)
        self._lock = threading.Lock()
        self._generation = 0
        self._targets: tuple[Target, ...] = ()
        self._was_ready = False

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets of the newest usable version."""
        return self._targets

    @property
    def is_ready(self) -> bool:
        """See `TargetSource.is_ready`."""
        return self._was_ready or any(target.has_token for target in self._targets)

    @property
    def state(self) -> ConfigState | None:
        """What is known of the document; None before the first read."""
        snapshot, failure = self._cache.snapshot, self._cache.failure
        if snapshot is None:
            return None
        error = None if failure is None else _describe(failure)
        return ConfigState(snapshot.value.version, format_timestamp(snapshot.began.wall), error)

    def refresh(self, deadline: Deadline) -> VerdictWarning | None:
        """See `TargetSource.refresh`."""
        snapshot = self._cache.snapshot
        is_old = snapshot is not None and snapshot.began.seconds_until(self._clock()) >= WAIT_SECONDS
        failure: CheckError | None = None
        if snapshot is None or (is_old and self._cache.seconds_since_read() >= LOOK_SECONDS):
            # With an older version at hand, half of the time is left for the check.
            wait_until = deadline if snapshot is None else deadline.earlier(deadline.remaining())
            try:
                self._cache.get(wait_until, after_generation=snapshot.generation if snapshot else 0)
            except CheckError as error:
                if self._cache.snapshot is None:
                    raise _unusable(error) from None
                failure = error
        elif self._cache.seconds_since_read() >= LOOK_SECONDS:
            self._cache.refresh_in_background()
        self._use_newest()
        failure, state = self._cache.failure or failure, self.state
        if failure is None or state is None:
            return None
        message = (
            f"A newer version of the document that FDI_CONFIG names cannot be used: {_describe(failure)}. The one that "
            f"was read at {state.loaded_at} is used."
        )
        return VerdictWarning("config_rejected", None, message, _STEP)

    def _read(self, deadline: Deadline) -> _Document:
        secret = self._secret.store.read(deadline)
        return _Document(secret.version, read_document(secret.data, self._environ, self._clock().wall))

    def _use_newest(self) -> None:
        with self._lock:
            snapshot = self._cache.snapshot
            if snapshot is None or snapshot.generation == self._generation:
                return
            before = {target.settings.name: target for target in self._targets}
            after: list[Target] = []
            self._paces.set_rates(settings for settings, _ in snapshot.value.targets)
            for settings, secret in snapshot.value.targets:
                same = before.get(settings.name)
                if same is not None and same.settings == settings:
                    after.append(before.pop(settings.name))
                else:
                    of_process = self._environ, self._limits, self._clock, self._paces, self._credential_limits
                    share, context = len(snapshot.value.targets), _tls_context([*self._targets, *after])
                    after.append(open_target(settings, secret, *of_process, share=share, context=context))
            self._was_ready = self.is_ready
            self._targets, self._generation = tuple(after), snapshot.generation
        for removed in before.values():
            removed.close()


def _tls_context(targets: Sequence[Target]) -> ssl.SSLContext | None:
    contexts = (target.transport.context for target in targets)
    return next((context for context in contexts if isinstance(context, ssl.SSLContext)), None)


def _describe(error: CheckError) -> str:
    faults = "; ".join(f"{fault.variable} {fault.message}" for fault in error.faults[:3])
    more = f"; +{len(error.faults) - 3} more" if len(error.faults) > 3 else ""
    return f"{faults}{more}" if faults else error.message


def _unusable(error: CheckError) -> CheckError:
    """Return the error of a process that never had a usable document."""
    faults = error.faults or (Fault("FDI_CONFIG", f"{error.message}. {error.next_step}"),)
    return CheckError("settings_invalid", "the document that FDI_CONFIG names cannot be used", faults=faults)
