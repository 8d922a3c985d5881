"""The marker and the HTTP status follow from the instances' statuses and `fail_on`, and from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.outcome import decide
from schemas.query import DEFAULT_FAIL_ON, FAILING_STATUSES
from tests.faults import oracle

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, NOT_OK = "FDI-OK", "FDI-NOT-OK"
ALL = ("unhealthy", "unknown", "degraded")


@pytest.mark.parametrize(
    ("statuses", "fail_on", "marker", "http_status"),
    [
        (["healthy"], DEFAULT_FAIL_ON, OK, 200),
        (["healthy", "degraded"], DEFAULT_FAIL_ON, OK, 200),
        (["healthy", "unknown"], DEFAULT_FAIL_ON, NOT_OK, 503),
        (["healthy", "unhealthy"], DEFAULT_FAIL_ON, NOT_OK, 503),
        # G01: a worse instance does not hide another one
        (["unhealthy", "unknown"], ["unknown"], NOT_OK, 503),
        (["unhealthy", "degraded"], ["degraded"], NOT_OK, 503),
        (["unknown", "degraded"], ["degraded"], NOT_OK, 503),
        (["unhealthy", "degraded"], ["unknown"], NOT_OK, 200),
        # G05: no 503 says FDI-OK
        (["degraded"], ["degraded"], NOT_OK, 503),
        (["healthy", "degraded"], ALL, NOT_OK, 503),
        # what is not paged for is still not healthy
        (["unhealthy"], [], NOT_OK, 200),
        (["unknown"], ["unhealthy"], NOT_OK, 200),
        (["degraded"], [], OK, 200),
        (["healthy"], [], OK, 200),
        # the fire drill fails for every status
        (["healthy"], ["healthy"], NOT_OK, 503),
        (["unknown"], ["healthy"], NOT_OK, 503),
        (["degraded"], ["unhealthy", "healthy"], NOT_OK, 503),
        # nothing was seen
        ([], DEFAULT_FAIL_ON, NOT_OK, 503),
        ([], [], NOT_OK, 200),
    ],
)
def test_decide__follows_the_contracts_table(
    statuses: Sequence[str], fail_on: Sequence[str], marker: str, http_status: int
) -> None:  # G01, G05
    assert decide(statuses, fail_on) == (marker, http_status)


@given(
    statuses=st.lists(st.sampled_from([*ALL, "healthy"]), min_size=1),
    fail_on=st.sets(st.sampled_from(FAILING_STATUSES)),
)
def test_decide__agrees_with_the_oracle(statuses: list[str], fail_on: set[str]) -> None:
    text = ",".join(fail_on) or "none"
    assert decide(statuses, fail_on) == (oracle.marker(statuses, text), oracle.http_status(statuses, text))


@given(
    statuses=st.lists(st.sampled_from([*ALL, "healthy"])),
    more=st.sampled_from([*ALL, "healthy"]),
    fail_on=st.sets(st.sampled_from(FAILING_STATUSES)),
)
def test_one_more_instance__never_makes_it_milder(statuses: list[str], more: str, fail_on: set[str]) -> None:
    before, after = decide(statuses or [more], fail_on), decide([*statuses, more], fail_on)
    assert after.http_status >= before.http_status
    assert not (after.marker == OK and before.marker == NOT_OK)
