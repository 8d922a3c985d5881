"""/ready: 503 until the settings are valid and the credentials were held once, 200 for the rest of the process."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from simulator import Iam, User
from tests.conftest import CREDENTIALS, PASSWORD, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function


def ready(checked: Function) -> tuple[int, bool, list[str]]:
    """Return status, `ready` and the messages of the faults."""
    response = checked.get("/ready")
    document: dict[str, Any] = response.get_json()
    assert document["faults_count"] == len(document["faults"])
    assert {fault["variable"] for fault in document["faults"]} <= {"FDI_TOKEN"}
    return response.status_code, document["ready"], [fault["message"] for fault in document["faults"]]


def test_ready__turns_200_when_the_secret_can_be_read(function: Callable[..., Function], tmp_path: Path) -> None:  # E34
    secret = tmp_path / "token"
    checked = function("healthy", FDI_TOKEN=f"file://{secret}")

    status, is_ready, (fault,) = ready(checked)
    assert (status, is_ready) == (503, False)
    assert TOKEN not in fault

    secret.write_text(TOKEN)
    assert ready(checked) == (200, True, [])


def test_ready__needs_credentials_to_be_exchanged(function: Callable[..., Function], iam: Iam) -> None:  # E34
    iam.users["fdi-probe"] = User("another password")
    checked = function("healthy", ROMA_TOKEN=CREDENTIALS)

    status, is_ready, (fault,) = ready(checked)
    assert (status, is_ready) == (503, False)
    assert "IAM refused" in fault
    assert PASSWORD not in fault


def test_ready__stays_200_when_the_token_is_refused_later(
    function: Callable[..., Function], upstream: Simulator
) -> None:  # E34
    checked = function("healthy")
    assert ready(checked) == (200, True, [])

    upstream.tokens.clear()
    assert checked.get().status_code == 503
    status, is_ready, (fault,) = ready(checked)
    assert (status, is_ready) == (200, True)
    assert "the credentials were refused" in fault

    upstream.tokens.add(TOKEN)
    assert checked.get().status_code == 200
    assert ready(checked) == (200, True, [])


def test_ready__stays_200_when_the_credentials_are_refused_later(
    function: Callable[..., Function], iam: Iam
) -> None:  # E34
    checked = function("healthy", ROMA_TOKEN=CREDENTIALS)
    assert checked.get().status_code == 200

    iam.revoke()
    iam.users["fdi-probe"] = User("another password")
    assert checked.get().status_code == 503
    status, is_ready, (fault,) = ready(checked)
    assert (status, is_ready) == (200, True)
    assert "IAM refused" in fault


def test_ready__stays_200_when_the_secret_is_gone(function: Callable[..., Function], tmp_path: Path) -> None:  # G03
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    checked = function("healthy", FDI_TOKEN=f"file://{secret}")
    assert checked.get().status_code == 200

    os.unlink(secret)  # noqa: PTH108 -- as an operator's `rm` would
    assert ready(checked)[:2] == (200, True)


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "key-0123456789abcdef"}])
def test_ready__every_check_taken__is_200(function: Callable[..., Function], headers: dict[str, str]) -> None:  # E34
    keys = {"FDI_CALLERS": "env://CALLERS", "CALLERS": "key-0123456789abcdef", "FDI_ANONYMOUS": "verdict"}
    checked = function("healthy", THREADS="2", **keys)
    with checked.process.admission.check():
        assert checked.get("/ready").get_json()["code"] == "overloaded"  # nothing is known yet

    assert checked.get("/ready").status_code == 200
    with contextlib.ExitStack() as taken:
        taken.enter_context(checked.process.admission.check())
        response = checked.get("/ready", headers=headers)
        assert (response.status_code, response.get_json()) == (200, {"ready": True, "faults_count": 0})


def test_ready__every_check_taken__still_shows_details(
    function: Callable[..., Function],
) -> None:  # E34
    checked = function("healthy", THREADS="2")
    assert checked.get("/ready").status_code == 200
    with checked.process.admission.check():
        assert ready(checked) == (200, True, [])


def test_ready__broken_settings__lists_their_faults(
    function: Callable[..., Function],
) -> None:  # C97
    response = function(FDI_TOKEN=None, FDI_CACHE_SECONDS="x", FDI_ANONYMOUS="refuse").get("/ready")

    assert response.status_code == 503
    document = response.get_json()
    assert (document["ready"], document["faults_count"]) == (False, len(document["faults"]))
    assert "token" not in document
