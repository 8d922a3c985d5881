"""The call rates of a process, for all of its targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdi_health.transport.pacing import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.targets import TargetSettings


class Paces:
    """One pace per endpoint and secret: the vendor counts the requests of each user, whichever target they are for."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, str], Pace] = {}

    def of(self, settings: TargetSettings) -> Pace:
        """Return the pace of a target. It remains the same one when the document changes."""
        return self._paces.setdefault((settings.endpoint, settings.token), Pace())

    def set_rates(self, targets: Iterable[TargetSettings]) -> None:
        """Set each pace to the lowest rate that one of its targets has now; to none, if no target has one."""
        rates: dict[Pace, list[float]] = {}
        for settings in targets:
            of_pace = rates.setdefault(self.of(settings), [])
            if settings.max_calls_per_second is not None:
                of_pace.append(settings.max_calls_per_second)
        for pace, found in rates.items():
            pace.set_rate(min(found, default=None))
