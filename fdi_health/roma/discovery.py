"""Keeps the list of a project's instances for one target: which instances there are, and since when that is known.

A list is replaced only by a newer complete one. A failure leads to a warning or an error, never to fewer instances.
"""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health import log
from fdi_health.clock import format_timestamp, now
from fdi_health.concurrency.single_flight import SingleFlight
from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.models import VerdictWarning
from fdi_health.roma.instance_history import Seen, update_history, warn_of_gone
from fdi_health.roma.instance_selection import DiscoveredInstances, select_instances
from fdi_health.roma.instances import list_with_renewal

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline, Instant
    from fdi_health.concurrency.single_flight import Call
    from fdi_health.roma.api import Api
    from fdi_health.roma.instances import RenewableTokenSource
    from schemas.targets import TargetSettings

MAX_AGE_SECONDS = 3600.0
"""How old a list may be, counted from the beginning of its read."""

MAX_READ_SECONDS = 5.0
"""The time limit of a read, unless another one is given."""

RETRY_SECONDS = 30.0
"""How long the last read must be past before a failed one is repeated, or the list is read for an instance that ROMA
Connect did not find."""

_MAX_UNREPORTED_TIMEOUTS = 2
"""How many reads in a row may be late before that is reported: a platform that freezes the process makes one late."""

_MIN_RETRY_SECONDS = 0.3
"""If a read that was joined fails, its caller starts or joins one more if it has this much time left."""


class _InstanceList(NamedTuple):
    found: DiscoveredInstances
    ids: frozenset[str]
    read: Instant


class Discovery:
    """The instances of a target that discovers them. Thread-safe.

    Args:
        settings: which instances are wanted.
        api: the API in the project.
        tokens: the token or access key of the target.
        seconds: the age at which a list is read again, beside the checks that use it.
        clock: reads both clocks.
        limit_seconds: the time limit of a read; callers wait for it until their own deadlines.

    """

    def __init__(
        self,
        settings: TargetSettings,
        api: Api,
        tokens: RenewableTokenSource[Any],
        seconds: float,
        clock: Callable[[], Instant] = now,
        limit_seconds: float = MAX_READ_SECONDS,
    ) -> None:
        self._settings, self._api, self._tokens, self._seconds, self._clock = settings, api, tokens, seconds, clock
        self._reads: SingleFlight[None, _InstanceList | CheckError] = SingleFlight(
            _start_thread, limit_seconds, self._keep, clock, self._keep_late
        )
        self._newest: Call[_InstanceList | CheckError] | None = None
        self._newest_is_counted = True
        self._list: _InstanceList | None = None
        self._history: dict[str, Seen] = {}
        self._failure: CheckError | None = None
        self._timeouts = 0

    def current(self, deadline: Deadline) -> DiscoveredInstances:
        """Return the instances to ask; an error is a value in it.

        Args:
            deadline: how long to wait, if there is no usable list.

        """
        known = self.known()
        return self._wait(deadline) if known is None else known

    def known(self) -> DiscoveredInstances | None:
        """Return the instances to ask, or None if there is no usable list; does not wait.

        A list that is too old is read again beside the check, and used until then. A list that does not have what the
        settings demand is not usable.
        """
        with self._reads.lock:
            call, usable = self._in_progress(), self._usable()
            if usable is not None:
                is_due = self._failure is not None or self._age(usable) >= self._seconds
                may_read = self._failure is None or self._seconds_since_read() >= RETRY_SECONDS
                if call is None and is_due and may_read:
                    self._start()
                return self._with_warnings(usable)
        return None

    def not_found(self, instance_id: str) -> None:
        """Read the list again beside the check, since ROMA Connect does not know an instance that is in it.

        The list is read at most once in `RETRY_SECONDS` for this.
        """
        with self._reads.lock:
            is_listed = self._list is not None and instance_id in self._list.ids
            if is_listed and self._in_progress() is None and self._seconds_since_read() >= RETRY_SECONDS:
                self._start()

    def _wait(self, deadline: Deadline) -> DiscoveredInstances:
        """Return what a read finds that is in progress or started now."""
        while True:
            with self._reads.lock:
                call = self._in_progress()
                joined = call is not None
                call = call or self._start()
            error = _stuck()
            if call is not None:
                wait([call.result], timeout=min(deadline.remaining(), call.deadline.remaining()))
                in_time = call.result.done() and not call.result.cancelled()
                result = call.result.result() if in_time else _timeout()
                if isinstance(result, _InstanceList):
                    with self._reads.lock:
                        return self._with_warnings(result)
                error = result
            if not joined or deadline.remaining() < _MIN_RETRY_SECONDS:
                return DiscoveredInstances((), error=error.copy(message=f"{self._since()}: {error.message}"))

    def _since(self) -> str:
        known = "" if self._list is None else f" since {format_timestamp(self._list.read.wall)}"
        return f"the list of instances could not be read{known}"

    def _usable(self) -> _InstanceList | None:
        newest = self._list
        if newest is None or newest.found.error is not None or self._age(newest) >= MAX_AGE_SECONDS:
            return None
        return newest

    def _age(self, newest: _InstanceList) -> float:
        return newest.read.seconds_until(self._clock())

    def _seconds_since_read(self) -> float:
        return RETRY_SECONDS if self._newest is None else self._newest.began.seconds_until(self._clock())

    def _in_progress(self) -> Call[_InstanceList | CheckError] | None:
        """Return the read to join, or None. The newest read counts as failed here if it is late."""
        call = self._reads.in_progress(None)
        if call is None and not self._newest_is_counted:
            self._newest_is_counted = True
            self._timeouts += 1
            if self._timeouts > _MAX_UNREPORTED_TIMEOUTS:
                self._failure = _timeout()
        return call

    def _start(self) -> Call[_InstanceList | CheckError] | None:
        call = self._reads.start(None, self._read)
        if call is None:
            self._failure = _stuck()
        else:
            self._newest, self._newest_is_counted = call, False
        return call

    def _read(self, call: Call[Any]) -> _InstanceList | CheckError:
        try:
            listed = list_with_renewal(self._api, self._tokens, call.deadline)
            found = select_instances(listed, self._settings)
            return _InstanceList(found, frozenset(one.instance_id for one in listed), call.began)
        except CheckError as error:
            return error.copy()
        except Exception as error:  # noqa: BLE001 -- a fault of ours must not end the refreshes without a word
            log.log_fault(error)
            return CheckError(
                "invalid_response",
                "fdi-health itself failed; its log says where",
                next_step='Report the log line with "fdi-health itself failed".',
            )

    def _keep(self, _: None, result: _InstanceList | CheckError) -> None:
        """Take the result of the newest read, which came in time."""
        self._newest_is_counted = True
        self._timeouts = 0
        if isinstance(result, CheckError):
            self._failure = result
        else:
            self._accept(result)

    def _keep_late(self, _: None, result: _InstanceList | CheckError) -> None:
        """Take the list of a late read, unless there is a newer one: its age counts from the beginning of the read."""
        if isinstance(result, _InstanceList) and (self._list is None or self._age(result) < self._age(self._list)):
            self._accept(result)

    def _accept(self, newest: _InstanceList) -> None:
        self._list, self._failure, self._timeouts = newest, None, 0
        self._history = update_history(self._history, newest.found.instances, newest.ids, newest.read)

    def _with_warnings(self, newest: _InstanceList) -> DiscoveredInstances:
        stale = [] if self._failure is None else [_stale(newest, self._failure)]
        gone = warn_of_gone(self._history, self._clock())
        error = newest.found.error
        return newest.found._replace(
            warnings=(*stale, *gone, *newest.found.warnings), error=None if error is None else error.copy()
        )


def _stale(newest: _InstanceList, failure: CheckError) -> VerdictWarning:
    return VerdictWarning(
        "discovery_stale",
        None,
        f"The list of instances is from {format_timestamp(newest.read.wall)} and could not be read again "
        f"({failure.code}): {failure.message}. "
        f"It is used until {format_timestamp(newest.read.wall + MAX_AGE_SECONDS)}.",
        failure.next_step or NEXT_STEPS["timeout"],
    )


def _timeout() -> CheckError:
    return CheckError("timeout", "no response before the deadline")


def _stuck() -> CheckError:
    return CheckError("timeout", "earlier requests for the list of instances are stuck, or no thread was free")


def _start_thread(work: Callable[[], None]) -> None:
    # In the caller's context: the agency's token comes from the current invocation.
    run = contextvars.copy_context().run
    # Not on the pool: probes that hang must not keep the list from being read.
    threading.Thread(target=run, args=(work,), name="fdi-health-instances", daemon=True).start()
