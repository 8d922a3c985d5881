"""Checks all instances of one target within one deadline, each by one probe at a time; results are cached for seconds.

Nothing here raises a CheckError: an error is a value in the result of its instance.
"""

from __future__ import annotations

from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.clock import earliest, now
from fdi_health.concurrency.single_flight import Call, SingleFlight
from fdi_health.errors import CheckError
from fdi_health.probe import RENEWING, Prober, too_late

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
    from fdi_health.models import Instance, ProbeResult
    from fdi_health.probe import TokenSource
    from fdi_health.roma.client import Client

MIN_RETRY_SECONDS = 0.3
"""If a joined call fails, its caller starts or joins one more if it has this much time left."""


class PendingProbe(NamedTuple):
    """A call that a check waits for.

    Attributes:
        instance: the instance that the call asks.
        call: the call.
        started: whether this check started the call; otherwise it joined it.

    """

    instance: Instance
    call: Call[ProbeResult]
    started: bool


class Checker:
    """The instances of one target.

    Args:
        client: asks one instance.
        pool: the threads that wait for ROMA Connect.
        cache_seconds: how long a result is reused; an unknown one never is.
        limit_seconds: how long asking one instance may take, retries and renewals of the token included.
        clock: reads both clocks.

    """

    def __init__(
        self,
        client: Client,
        pool: DaemonThreadPool,
        cache_seconds: float,
        limit_seconds: float,
        clock: Callable[[], Instant] = now,
    ) -> None:
        self._prober = Prober(client, clock)
        self._cache_seconds, self._limit_seconds = cache_seconds, limit_seconds
        self._clock = clock
        self._cache: dict[str, ProbeResult] = {}
        self._calls: SingleFlight[str, ProbeResult] = SingleFlight(pool.submit, limit_seconds, self._keep, clock)

    def check_all(self, instances: Sequence[Instance], tokens: TokenSource, deadline: Deadline) -> list[ProbeResult]:
        """Return one result per instance, in their order, at the deadline at the latest.

        Args:
            instances: the instances to ask.
            tokens: asked for a token only if an instance has to be asked.
            deadline: when the results must be here. What is pending then is unknown with `timeout`, or with
                `token_unavailable` if its token was refused and no other one came.

        """
        cached = self._all_cached(instances)
        if cached:
            return cached
        began = self._clock()
        results: dict[str, ProbeResult] = {}
        retried: set[str] = set()
        pending = self._start_or_join(instances, tokens, deadline, began, results)
        while pending and not deadline.expired:
            first_limit = min(probe.call.deadline.remaining() for probe in pending)
            wait([probe.call.result for probe in pending], timeout=min(deadline.remaining(), first_limit))
            waiting, again = [], []
            may_try_again = deadline.remaining() >= MIN_RETRY_SECONDS
            for probe in pending:
                instance_id = probe.instance.instance_id
                if self._is_late(probe.call):
                    if may_try_again:
                        again.append(probe.instance)
                    else:
                        results[instance_id] = self._timed_out(probe, began)
                elif not probe.call.result.done():
                    waiting.append(probe)
                elif self._failed_for_others(probe) and may_try_again and instance_id not in retried:
                    retried.add(instance_id)
                    again.append(probe.instance)
                else:
                    results[instance_id] = probe.call.result.result()
            pending = waiting
            if again:
                pending += self._start_or_join(again, tokens, deadline, began, results)
        for probe in pending:
            in_time = probe.call.result.done() and not probe.call.result.cancelled()
            results[probe.instance.instance_id] = (
                probe.call.result.result() if in_time else self._timed_out(probe, began)
            )
        return [self._unless_too_old(results[instance.instance_id], began) for instance in instances]

    def _all_cached(self, instances: Sequence[Instance]) -> list[ProbeResult]:
        """Return one cached result per instance, or an empty list if one of them has to be asked."""
        with self._calls.lock:
            results = [self._cache[i.instance_id] for i in instances if i.instance_id in self._cache]
        # The clock is read last, so that a platform that freezes the process here does not make old results look new.
        if not results or len(results) < len(instances):
            return []
        oldest = earliest(result.arrived for result in results)
        return results if oldest.seconds_until(self._clock()) < self._cache_seconds else []

    def _unless_too_old(self, result: ProbeResult, began: Instant) -> ProbeResult:
        """Return the result, or the error if the platform froze the process after it arrived."""
        age = result.arrived.seconds_until(self._clock())
        if result.error is None and age > self._cache_seconds + self._limit_seconds:
            return self._prober.unknown(result.instance, too_late(), began)
        return result

    def _is_late(self, call: Call[ProbeResult]) -> bool:
        return call.result.cancelled() or (not call.result.done() and call.is_overdue(self._clock()))

    def _failed_for_others(self, probe: PendingProbe) -> bool:
        """Whether a call that others started failed; what made it fail may have been over when we joined it."""
        return not probe.started and probe.call.result.result().error is not None

    def _start_or_join(
        self,
        instances: Sequence[Instance],
        tokens: TokenSource,
        deadline: Deadline,
        began: Instant,
        results: dict[str, ProbeResult],
    ) -> list[PendingProbe]:
        """Take what is cached, join what is in progress, and start the calls that are missing."""
        pending: list[PendingProbe] = []
        missing = [i for i in instances if not self._take_or_join(i, deadline, results, pending)]
        if not missing:
            return pending
        try:
            authenticator = tokens.current(deadline)
        except CheckError as error:
            results.update((instance.instance_id, self._prober.unknown(instance, error, began)) for instance in missing)
            return pending
        for instance in missing:
            if deadline.expired:
                # Starting many calls takes time while others are decoding large responses.
                results[instance.instance_id] = self._prober.unknown(instance, too_late(), began)
                continue
            with self._calls.lock:
                if self._take_or_join(instance, deadline, results, pending):
                    continue
                call = self._calls.start(
                    instance.instance_id, partial(self._prober.probe, instance, authenticator, tokens)
                )
                if call is not None:
                    call.want(deadline)
            if call is None:
                stuck = CheckError("timeout", "earlier requests for this instance are stuck, or no thread was free")
                results[instance.instance_id] = self._prober.unknown(instance, stuck, began)
            else:
                pending.append(PendingProbe(instance, call, started=True))
        return pending

    def _take_or_join(
        self, instance: Instance, deadline: Deadline, results: dict[str, ProbeResult], pending: list[PendingProbe]
    ) -> bool:
        with self._calls.lock:
            cached = self._cache.get(instance.instance_id)
            if cached is not None and cached.arrived.seconds_until(self._clock()) < self._cache_seconds:
                results[instance.instance_id] = cached
                return True
            call = self._calls.in_progress(instance.instance_id)
            if call is not None:
                call.want(deadline)
                pending.append(PendingProbe(instance, call, started=False))
            return call is not None

    def _timed_out(self, probe: PendingProbe, began: Instant) -> ProbeResult:
        error = too_late()
        if probe.call.stage == RENEWING:
            error = CheckError("token_unavailable", "the token was refused and no other one came before the deadline")
        return self._prober.unknown(probe.instance, error, began)

    def _keep(self, instance_id: str, result: ProbeResult) -> None:
        if result.error is None:
            self._cache[instance_id] = result
