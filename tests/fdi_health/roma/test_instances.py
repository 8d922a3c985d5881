"""The list of a project's instances, asked over loopback: complete, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.authenticators import Token
from fdi_health.errors import CheckError
from fdi_health.roma.api import Api
from fdi_health.roma.instances import MAX_LIST_BYTES, ListedInstance, list_instances, list_with_renewal
from fdi_health.transport.client import Transport
from simulator import json_response
from tests.conftest import PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator import Simulator

GOOD, BAD = Token(TOKEN, 2), Token("MIIRefused0123456789", 1)


class Tokens:
    """Provides one token, and another one when that is refused."""

    def __init__(self, current: Token, renewed: Token) -> None:
        self._current, self._renewed = current, renewed
        self.renewals = 0

    def current(self, deadline: Deadline) -> Token:
        return self._current

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        assert refused is self._current
        self.renewals += 1
        return self._renewed


@pytest.fixture
def api(upstream: Simulator) -> Iterator[Api]:
    upstream.play("id-one", "healthy")
    upstream.play("id-two", "healthy")
    transport = Transport(upstream.url)
    yield Api(transport, PROJECT_ID)
    transport.close()


def listed(api: Api) -> tuple[ListedInstance, ...]:
    return list_instances(api, GOOD, Deadline.after(20))


def failure(api: Api) -> CheckError:
    with pytest.raises(CheckError) as caught:
        listed(api)
    return caught.value


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"total": len(entries), "size": len(entries), "instances": list(entries)}


def test_list__every_instance__has_id_name_and_state(api: Api, upstream: Simulator) -> None:
    upstream.instances.names["id-one"] = "Payments"
    upstream.instances.states["id-two"] = "FROZEN"
    assert listed(api) == (
        ListedInstance("id-one", "Payments", "RUNNING"),
        ListedInstance("id-two", "id-two", "FROZEN"),
    )


def test_list__request__has_no_query_that_could_narrow_it(api: Api, upstream: Simulator) -> None:
    listed(api)
    (request,) = upstream.instance_list_requests
    assert request.target == f"/v3/{PROJECT_ID}/roma/instances"


def test_list__incomplete__is_an_invalid_response(api: Api, upstream: Simulator) -> None:
    upstream.instances.claim_total(5)
    error = failure(api)
    assert (error.code, error.message, error.upstream_status) == (
        "invalid_response",
        "the list of instances is incomplete: 2 of 5",
        200,
    )


def test_list__name_with_the_token__is_redacted(api: Api, upstream: Simulator) -> None:
    upstream.instances.names["id-one"] = f"x {TOKEN}"
    assert listed(api)[0].name == "x [redacted]"


def test_list__id_with_the_token__is_an_invalid_response_that_hides_it(api: Api, upstream: Simulator) -> None:
    upstream.instances.fail(json_response(document({"id": TOKEN, "name": "a", "status": "RUNNING"})))
    error = failure(api)
    assert (error.code, error.message) == (
        "invalid_response",
        "the list of instances has an ID with a part of a secret in it",
    )


def test_list__longer_than_a_list_may_be__is_an_invalid_response(api: Api, upstream: Simulator) -> None:
    entry = {"id": "a", "name": "a", "status": "RUNNING", "description": "x" * MAX_LIST_BYTES}
    upstream.instances.fail(json_response(document(entry)))
    assert failure(api).message == "the response is too large"


def test_list__of_a_thousand_instances__is_read(api: Api, upstream: Simulator) -> None:
    entries = [{"id": f"id-{n}", "name": "a", "status": "RUNNING", "description": "x" * 400} for n in range(1000)]
    upstream.instances.fail(json_response(document(*entries)))
    assert len(listed(api)) == 1000


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("error_APIG_1005", "forbidden", "roma:instances:list"),
        ("error_ROMA_1006", "forbidden", "roma:instances:list"),
        ("error_APIC_7302", "api_not_found", "FDI_PROJECT_ID"),
        ("error_APIG_0310", "forbidden", "unfrozen"),
        ("error_APIG_0101", "api_not_found", "FDI_REGION"),
    ],
)
def test_list__refused__has_a_next_step_about_the_list(
    api: Api, upstream: Simulator, behaviour: str, code: str, words: str
) -> None:
    upstream.instances.fail(behaviour)
    error = failure(api)
    assert error.code == code
    assert words in str(error.next_step)


def test_list__token_refused__is_asked_again_with_a_renewed_one(api: Api, upstream: Simulator) -> None:
    tokens = Tokens(BAD, GOOD)
    assert len(list_with_renewal(api, tokens, Deadline.after(2))) == 2
    assert [request.token for request in upstream.instance_list_requests] == [BAD.value, GOOD.value]


@pytest.mark.parametrize(("renewed", "requests"), [(BAD._replace(generation=3), 1), (Token("MIIAlsoRefused99", 3), 2)])
def test_list__token_refused_for_good__is_renewed_once(
    api: Api, upstream: Simulator, renewed: Token, requests: int
) -> None:
    tokens = Tokens(BAD, renewed)
    with pytest.raises(CheckError) as caught:
        list_with_renewal(api, tokens, Deadline.after(2))
    assert caught.value.code == "token_rejected"
    assert (tokens.renewals, len(upstream.instance_list_requests)) == (1, requests)


def test_list__other_failure__renews_no_token(api: Api, upstream: Simulator) -> None:
    upstream.instances.fail("error_APIG_1005")
    tokens = Tokens(GOOD, GOOD)
    with pytest.raises(CheckError):
        list_with_renewal(api, tokens, Deadline.after(2))
    assert tokens.renewals == 0
