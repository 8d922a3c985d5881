"""Many instances, one deadline: asks each at most once at a time, and remembers answers for a few seconds.

Nothing here raises a CheckError: an error is a value in the finding of the instance that it struck.
"""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.concurrency.single_flight import Flight, Flights, had_less_time
from fdi_health.deadline import now
from fdi_health.errors import CheckError
from fdi_health.model import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fdi_health.client import Client
    from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
    from fdi_health.deadline import Deadline, Instant
    from fdi_health.model import Instance, Statistics, Token, TokenSource

_RENEWING = "renewing the token"
_RENEWED_STEP = "IAM gave this token just now: check that its user, FDI_PROJECT_ID and the region belong together."


class _Trip(NamedTuple):
    """One request's way to one instance's finding: a flight, begun or joined.

    Attributes:
        instance: whose.
        flight: the flight waited for.
        begun: whether this request began it, and so has to give it up.

    """

    instance: Instance
    flight: Flight[str, Finding]
    begun: bool


class Checker:
    """The instances of one endpoint.

    Args:
        client: asks one instance.
        pool: the threads that wait for the upstream.
        cache_seconds: how long an answer is reused; an unknown one never is.
        clock: reads both clocks.

    """

    def __init__(
        self, client: Client, pool: DaemonThreadPool, cache_seconds: float, clock: Callable[[], Instant] = now
    ) -> None:
        self._client = client
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._kept: dict[str, Finding] = {}
        self._flights: Flights[str, Finding] = Flights(pool.submit, self._keep)

    def check(self, instances: Sequence[Instance], tokens: TokenSource, deadline: Deadline) -> list[Finding]:
        """Return one finding per instance, in their order, at the deadline at the latest.

        Args:
            instances: whom to ask.
            tokens: asked for a token only if an instance has to be asked.
            deadline: when the findings must be here; what is pending then is unknown with `timeout`, or
                `token_unavailable` if it was still waiting for a token.

        """
        began = self._clock()
        found: dict[str, Finding] = {}
        waiting = list(instances)
        while waiting:
            trips = self._set_out(waiting, tokens, deadline, began, found)
            wait([trip.flight.result for trip in trips], timeout=deadline.remaining())
            waiting = []
            # All of them first: should one raise, a fault of ours, none of the others is left in the air.
            for trip in trips:
                self._end(trip, began)
            for trip in trips:
                finding = trip.flight.result.result() if trip.flight.result.done() else self._late(trip, began)
                found[trip.instance.instance_id] = finding
                if finding.error is not None and not trip.begun and had_less_time(trip.flight, deadline):
                    waiting.append(trip.instance)
        return [found[instance.instance_id] for instance in instances]

    def _set_out(
        self,
        instances: Sequence[Instance],
        tokens: TokenSource,
        deadline: Deadline,
        began: Instant,
        found: dict[str, Finding],
    ) -> list[_Trip]:
        """Find what is known, join what is under way and begin what is missing."""
        trips: list[_Trip] = []
        missing = [instance for instance in instances if not self._known_or_joined(instance, found, trips)]
        if not missing:
            return trips
        try:
            token = tokens.current(deadline)
        except CheckError as error:
            found.update((instance.instance_id, self._unknown(instance, error, began)) for instance in missing)
            return trips
        for instance in missing:
            with self._flights.lock:
                if self._known_or_joined(instance, found, trips):
                    continue
                flight = self._flights.begin(instance.instance_id, self._probing(instance, token, tokens), deadline)
            if flight is None:
                stuck = CheckError("timeout", "earlier probes of this instance are still stuck, or no thread was free")
                found[instance.instance_id] = self._unknown(instance, stuck, began)
            else:
                trips.append(_Trip(instance, flight, begun=True))
        return trips

    def _known_or_joined(self, instance: Instance, found: dict[str, Finding], trips: list[_Trip]) -> bool:
        with self._flights.lock:
            kept = self._kept.get(instance.instance_id)
            if kept is not None and kept.arrived.seconds_until(self._clock()) < self._cache_seconds:
                found[instance.instance_id] = kept
                return True
            flight = self._flights.under_way(instance.instance_id)
            if flight is not None:
                trips.append(_Trip(instance, flight, begun=False))
            return flight is not None

    def _end(self, trip: _Trip, began: Instant) -> None:
        if trip.begun and not trip.flight.result.done():
            self._flights.give_up(trip.flight, lambda: self._late(trip, began))

    def _late(self, trip: _Trip, began: Instant) -> Finding:
        error = CheckError("timeout", "no answer before the deadline")
        if trip.flight.stage == _RENEWING:
            error = CheckError("token_unavailable", "the token was refused and no other one came before the deadline")
        return self._unknown(trip.instance, error, began)

    def _probing(
        self, instance: Instance, token: Token, tokens: TokenSource
    ) -> Callable[[Flight[str, Finding]], Finding]:
        def probe(flight: Flight[str, Finding]) -> Finding:
            began = self._clock()
            try:
                statistics = self._ask(instance, token, tokens, flight)
            except CheckError as error:
                return self._unknown(instance, error, began)
            arrived = self._clock()
            return Finding(instance, statistics, None, arrived, began.seconds_until(arrived))

        return probe

    def _ask(self, instance: Instance, token: Token, tokens: TokenSource, flight: Flight[str, Finding]) -> Statistics:
        if flight.deadline.expired:
            raise CheckError("timeout", "no thread was free before the deadline")
        try:
            return self._client.statistics(instance, token, flight.deadline, flight.abort)
        except CheckError as error:
            if error.code != "token_rejected":
                raise
            flight.stage = _RENEWING
            renewed = tokens.renew(token, flight.deadline)
            flight.stage = ""
            if renewed.value == token.value:
                error.next_step = _RENEWED_STEP if token.renewable else error.next_step
                raise
        try:
            return self._client.statistics(instance, renewed, flight.deadline, flight.abort)
        except CheckError as error:
            if error.code == "token_rejected" and renewed.renewable:
                error.next_step = _RENEWED_STEP
            raise

    def _unknown(self, instance: Instance, error: CheckError, began: Instant) -> Finding:
        # What is kept as a value keeps neither the frames nor the foreign exceptions it was raised from.
        error = error.with_traceback(None)
        error.__cause__ = error.__context__ = None
        arrived = self._clock()
        return Finding(instance, None, error, arrived, began.seconds_until(arrived))

    def _keep(self, instance_id: str, finding: Finding) -> None:
        if finding.error is None:
            self._kept[instance_id] = finding
