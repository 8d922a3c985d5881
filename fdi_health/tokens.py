"""The token of one endpoint: read when it is needed, held in memory, read again when it is refused or about to end."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING

from fdi_health.deadline import Deadline, now
from fdi_health.errors import CheckError
from fdi_health.fault_log import log_fault
from fdi_health.flights import Flight, Flights, had_less_time
from fdi_health.model import Token
from fdi_health.secret import read_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.deadline import Instant
    from fdi_health.vaults import Vault

_KEY = "token"
_LATE = "the secret could not be read before the deadline"
_REST_SECONDS = 5.0
"""How long after a read ahead of a token's end the next one may begin, whatever came of it."""


class Tokens:
    """Reads tokens from one secret; one read at a time, shared by everybody who waits for it.

    Args:
        vault: where the secret is.
        key: which key of a JSON secret holds the token, or None.
        clock: reads both clocks.

    """

    def __init__(self, vault: Vault, key: str | None = None, clock: Callable[[], Instant] = now) -> None:
        self._vault = vault
        self._json_key = key
        self._clock = clock
        self._serials = itertools.count(1)
        self._held: Token | None = None
        self._read_at: Instant | None = None
        self._read_ahead_at: Instant | None = None
        self._reads: Flights[str, Token | CheckError] = Flights(_on_a_thread_of_its_own, self._keep)

    def current(self, deadline: Deadline) -> Token:
        """Return the token held, reading it first if none is.

        A token whose end is near is read again on the side; the one held is good until then.

        Raises:
            CheckError: `token_unavailable`.

        """
        with self._reads.lock:
            held = self._held
            if held is not None:
                if self._is_near_its_end(held) and self._reads.under_way(_KEY) is None:
                    self._read_ahead_at = self._clock()
                    self._reads.begin(_KEY, self._read, deadline)
                return held
        return self._newer_than(0, deadline)

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        """Return a token read later than `refused` was; the first caller reads it, the others get the same.

        Raises:
            CheckError: `token_unavailable`.

        """
        return self._newer_than(refused.serial, deadline)

    def _newer_than(self, serial: int, deadline: Deadline) -> Token:
        while True:
            with self._reads.lock:
                if self._held is not None and self._held.serial > serial:
                    return self._held
                joined = self._reads.under_way(_KEY)
                flight = joined or self._reads.begin(_KEY, self._read, deadline)
            if flight is None:
                raise _unavailable("earlier reads of the secret are still stuck, or no thread was free")
            wait([flight.result], timeout=deadline.remaining())
            if not joined and not flight.result.done():
                self._reads.give_up(flight, lambda: _unavailable(_LATE))
            result = flight.result.result() if flight.result.done() else _unavailable(_LATE)
            if isinstance(result, Token):
                return result
            if joined and had_less_time(joined, deadline):
                continue
            raise CheckError(result.code, result.message, next_step=result.next_step)

    def _read(self, flight: Flight[str, Token | CheckError]) -> Token | CheckError:
        serial = next(self._serials)
        try:
            secret = read_token(self._vault.read(flight.deadline), self._json_key)
        except CheckError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- what a vendor's library lets through, of whatever class
            log_fault(error)
            return CheckError(
                "token_unavailable",
                "the secret could not be read: its secrets manager's answer or our credentials for it are malformed",
                next_step="Check the secrets manager's credentials and endpoint; the log says where it broke.",
            )
        return Token(secret.value, serial, secret.expires_at)

    def _keep(self, _key: str, result: Token | CheckError) -> None:
        if isinstance(result, Token):
            self._held = result
            self._read_at = self._clock()

    def _is_near_its_end(self, token: Token) -> bool:
        """Whether the last tenth of its life as we read it, but at most 5 minutes, has begun.

        A token that was past its end when it was read is not read again for that: it is tried, and a refusal renews.
        """
        if token.expires_at is None or self._read_at is None:
            return False
        present = self._clock()
        rested = self._read_ahead_at is None or self._read_ahead_at.seconds_until(present) >= _REST_SECONDS
        life = token.expires_at - self._read_at.wall
        return rested and life > 0 and self._read_at.seconds_until(present) >= life - min(300.0, life / 10)


def _unavailable(message: str) -> CheckError:
    return CheckError("token_unavailable", message)


def _on_a_thread_of_its_own(work: Callable[[], None]) -> None:
    # Not on the pool: probes that hang must not keep the secret from being read.
    threading.Thread(target=work, name="fdi-health-token", daemon=True).start()
