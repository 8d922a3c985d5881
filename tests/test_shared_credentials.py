"""Several targets that use one user or one access key: a wrong secret must not lock it for everybody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from simulator import SecretKey, Simulator, User
from tests.conftest import CREDENTIALS, PROJECT_ID
from tests.fdi_health.fake_secret_store import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Iam
    from tests.conftest import Function

COUNT = 8
WRONG_PASSWORD = json.dumps({**json.loads(CREDENTIALS), "password": "wrong"})
ACCESS_KEY, SECRET_KEY = "HPUAEXAMPLE", "made-up-secret"


def key_secret(secret_key: str) -> str:
    return json.dumps({"access_key": ACCESS_KEY, "secret_key": secret_key})


@pytest.fixture
def targets(function: Callable[..., Function], upstream: Simulator, tmp_path: Path) -> Callable[..., Function]:
    """Return a factory of functions with eight targets of one secret; `first` are other fields of the first target."""

    def make(secret: str, first: dict[str, str] | None = None, **settings: Any) -> Function:
        upstream.play("id-one", "healthy")
        fields: dict[str, Any] = {
            "endpoint": upstream.url,
            "iam_endpoint": upstream.url,
            "project_id": PROJECT_ID,
            "token": "env://ROMA_TOKEN",
            "instances": {"one": "id-one"},
        }
        documents = [{"name": f"t{number}", **fields} for number in range(COUNT)]
        documents[0] |= first or {}
        path = tmp_path / "targets.json"
        path.write_text(json.dumps({"targets": documents}))
        unset = dict.fromkeys(("FDI_ENDPOINT", "FDI_IAM_ENDPOINT", "FDI_PROJECT_ID", "FDI_INSTANCES", "FDI_TOKEN"))
        return function(**{**unset, "FDI_CONFIG": f"file://{path}", "ROMA_TOKEN": secret, **settings})

    return make


def codes(app: Function) -> list[str | None]:
    return [instance["error"] and instance["error"]["code"] for instance in app.verdict()["instances"]]


def test_right_password__of_all_targets__is_used_by_all(targets: Callable[..., Function]) -> None:
    assert codes(targets(CREDENTIALS)) == [None] * COUNT


def test_wrong_password__of_all_targets__is_sent_twice_at_most(targets: Callable[..., Function], iam: Iam) -> None:
    app = targets(WRONG_PASSWORD)
    for _ in range(3):
        assert codes(app) == ["token_unavailable"] * COUNT
    assert len(iam.logins) <= 2  # five lock the user


def test_password__changed_in_iam_after_all_targets_used_it__is_sent_twice_at_most(
    targets: Callable[..., Function], iam: Iam
) -> None:
    clock = Clock()
    app = targets(CREDENTIALS, clock=clock)
    assert codes(app) == [None] * COUNT
    clock.wall += 60
    iam.users["fdi-probe"] = User("another")
    iam.revoke()
    iam.logins.clear()
    for _ in range(2):
        assert set(codes(app)) == {"token_unavailable"}
    assert len(iam.logins) <= 2


def test_iam_of_one_target__does_not_respond__others_are_healthy_in_the_first_check(
    targets: Callable[..., Function],
) -> None:
    with Simulator(tokens=[], project_id=PROJECT_ID) as hanging:
        hanging.latency_seconds = 30
        app = targets(CREDENTIALS, {"iam_endpoint": hanging.url}, FDI_DEADLINE_SECONDS="2")
        assert codes(app) == ["token_unavailable", *[None] * (COUNT - 1)]


def test_right_key__of_all_targets__is_used_by_all(targets: Callable[..., Function], upstream: Simulator) -> None:
    upstream.access_keys.keys[ACCESS_KEY] = SecretKey(SECRET_KEY)
    assert codes(targets(key_secret(SECRET_KEY))) == [None] * COUNT


def test_wrong_key__of_all_targets__is_sent_twice_at_most(
    targets: Callable[..., Function], upstream: Simulator
) -> None:
    upstream.access_keys.keys[ACCESS_KEY] = SecretKey(SECRET_KEY)
    app = targets(key_secret("another"))
    for _ in range(3):
        assert codes(app) == ["token_rejected"] * COUNT
    assert len(upstream.requests) <= 2  # more than five lock the key


def test_endpoint_of_one_target__does_not_respond__key_is_proven_by_others(
    targets: Callable[..., Function], upstream: Simulator
) -> None:
    upstream.access_keys.keys[ACCESS_KEY] = SecretKey(SECRET_KEY)
    with Simulator(tokens=[], project_id=PROJECT_ID) as hanging:
        hanging.latency_seconds = 30
        app = targets(key_secret(SECRET_KEY), {"endpoint": hanging.url}, FDI_DEADLINE_SECONDS="2")
        assert codes(app) == ["timeout", *[None] * (COUNT - 1)]
