"""Requests that explain a verdict: shared by callers, kept for a time, and answered by words where they fail."""

from __future__ import annotations

from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from fdi_health import log
from fdi_health.concurrency.single_flight import SingleFlight
from fdi_health.errors import CheckError
from fdi_health.transport.retry import NotSentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fdi_health.clock import Deadline, Instant
    from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
    from fdi_health.concurrency.single_flight import Call
    from fdi_health.roma.api import Authenticator

_MAX_LISTS, _MAX_RUNS = 40, 500
_RUN_SECONDS = 600.0
"""How long a failure is kept. The log of a run that ended does not change, but a reason may be written late."""

_NO_TIME = "no time left"

Key: TypeAlias = "tuple[Any, ...]"
Work: TypeAlias = "Callable[[Any, Deadline], Any]"
"""Asks ROMA Connect, given the authenticator and the deadline; raises CheckError."""


class AuthenticatorSource(Protocol):
    """Provides the token or access key of one target."""

    def current(self, deadline: Deadline) -> Authenticator:
        """Return the cached token or access key, reading it first if there is none; raises CheckError."""
        ...


class _Kept(NamedTuple):
    value: Any
    arrived: Instant
    seconds: float


class SharedRequests:
    """Requests of one target that explain a verdict.

    Args:
        pool: the threads that wait for ROMA Connect.
        cache_seconds: how long a list is reused.
        limit_seconds: how long one request may take.
        clock: reads both clocks.

    """

    def __init__(
        self, pool: DaemonThreadPool, cache_seconds: float, limit_seconds: float, clock: Callable[[], Instant]
    ) -> None:
        self._cache_seconds, self._clock = cache_seconds, clock
        self._lists: dict[Key, _Kept] = {}
        self._runs: dict[Key, _Kept] = {}
        self._calls: SingleFlight[Key, Any] = SingleFlight(pool.submit, limit_seconds, self._keep, clock)

    def results(self, works: Mapping[Key, Work], tokens: AuthenticatorSource, deadline: Deadline) -> dict[Key, Any]:
        """Return key → result, or a few words that say why there is none, at the deadline at the latest.

        What is not kept is asked for, all at the same time.
        """
        calls: dict[Key, Call[Any]] = {}
        results = self._kept(works)
        missing = [key for key in works if key not in results]
        if not missing:
            return results
        try:
            authenticator = tokens.current(deadline)
        except CheckError as error:
            return results | dict.fromkeys(missing, _why_not(error))
        for key in missing:
            with self._calls.lock:
                # Another caller's request may have ended while this one waited for the token.
                results |= self._kept([key])
                if key in results:
                    continue
                call = self._calls.in_progress(key) or self._calls.start(
                    key, partial(_value_or_words, works[key], authenticator)
                )
            if call is not None:
                calls[key] = call
        wait([call.result for call in calls.values()], timeout=deadline.remaining())
        return results | {key: _result_of(calls.get(key)) for key in missing if key not in results}

    def _kept(self, keys: Iterable[Key]) -> dict[Key, Any]:
        """Return key → result, for those that are kept and young enough."""
        with self._calls.lock:
            present = self._clock()
            found = {key: self._lists.get(key) or self._runs.get(key) for key in keys}
            return {
                key: kept.value
                for key, kept in found.items()
                if kept is not None and kept.arrived.seconds_until(present) < kept.seconds
            }

    def _keep(self, key: Key, value: Any) -> None:
        if isinstance(value, str):
            return
        from fdi_health.tasks import FailedRun, TaskList

        kept, most = (self._lists, _MAX_LISTS) if isinstance(value, TaskList) else (self._runs, _MAX_RUNS)
        seconds = _RUN_SECONDS if isinstance(value, FailedRun) else self._cache_seconds
        kept.pop(key, None)
        kept[key] = _Kept(value, self._clock(), seconds)
        if len(kept) > most:
            del kept[next(iter(kept))]


def _value_or_words(work: Work, authenticator: Any, call: Call[Any]) -> Any:
    if call.deadline.expired:
        return _NO_TIME
    try:
        return work(authenticator, call.deadline)
    except CheckError as error:
        return _why_not(error)
    except Exception as error:  # noqa: BLE001 -- a fault of ours must not take the verdict with it
        log.log_fault(error)
        return "fdi-health itself failed; its log says where"


def _result_of(call: Call[Any] | None) -> Any:
    if call is None:
        return "no thread was free"
    in_time = call.result.done() and not call.result.cancelled()
    return call.result.result() if in_time else _NO_TIME


def _why_not(error: CheckError) -> str:
    if error.code == "timeout":
        return _NO_TIME
    if isinstance(error, NotSentError) and error.retry_after is None:
        return "the call rate leaves no request for it"
    if error.code == "throttled":
        return "ROMA Connect is rate limiting"
    return f"not readable ({error.code})"
