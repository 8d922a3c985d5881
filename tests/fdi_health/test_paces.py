"""The call rates of several targets: which of them share one, and which rate it is."""

from __future__ import annotations

import pytest

from fdi_health.clock import Deadline
from fdi_health.service.paces import Paces
from schemas.targets import TargetSettings


def target(endpoint: str, token: str, calls_per_second: float | None = None) -> TargetSettings:
    return TargetSettings("emea", endpoint, "project", token, max_calls_per_second=calls_per_second)


A = "https://a.example"


def open_paces(*rates: tuple[float | None, ...]) -> tuple[Paces, list[float]]:
    """Return paces that were given the rates of the targets of A, document after document, and their sleeps."""
    paces, sleeps = Paces(), [0.0]
    pace = paces.of(target(A, "env://A"))
    pace._clock, pace._sleep = (lambda: 100.0), sleeps.append
    for document in rates:
        paces.set_rates([*(target(A, "env://A", rate) for rate in document), target(A, "env://B", 1)])
    return paces, sleeps


def seconds_between(paces: Paces, sleeps: list[float]) -> float:
    """Return the seconds from one request to the next, without waiting for them."""
    for _ in range(2):
        paces.of(target(A, "env://A")).wait(Deadline(160, lambda: 100.0))
    return sleeps[-1] - sleeps[-2] if len(sleeps) > 2 else sleeps[-1]


def test_targets__with_the_same_endpoint_and_secret__share_a_pace() -> None:
    paces = Paces()
    one = paces.of(target(A, "env://A"))
    assert paces.of(target(A, "env://A", 20)) is one
    assert paces.of(target(A, "env://B")) is not one
    assert paces.of(target("https://b.example", "env://A")) is not one


@pytest.mark.parametrize(
    ("rates", "seconds"),
    [
        ([(None, 20, 10, None)], 1 / 10),
        ([(10,), (40,)], 1 / 40),
        ([(10,), (2,)], 1 / 2),
        ([(10, 20), (20,)], 1 / 20),
        ([(10,), (None,)], 0),
    ],
)
def test_rate__is_the_lowest_of_the_targets_in_the_newest_document(
    rates: list[tuple[float | None, ...]], seconds: float
) -> None:
    assert seconds_between(*open_paces(*rates)) == pytest.approx(seconds)
