"""The simulated IAM: it issues tokens for passwords; they expire, can be revoked, and open the statistics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from simulator import Iam, Simulator, User
from simulator.iam import FAULTS
from tests.simulator.test_simulator_command import run, started
from tests.simulator.wire import INSTANCE, statistics_path

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """IAM's time, set by hand."""

    at = 1_700_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def iam(clock: Clock) -> Iam:
    return Iam({"probe": User("secret")}, clock=clock)


@pytest.fixture
def url(iam: Iam) -> Iterator[str]:
    with Simulator(tokens=[], iam=iam) as simulator:
        simulator.play(INSTANCE, "healthy")
        yield simulator.url


def question(**changes: Any) -> dict[str, Any]:
    user = {"name": "probe", "password": "secret", "domain": {"name": "Acme"}, **changes.get("user", {})}
    return {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": changes.get("project", {"name": "cn-north-4"})},
        }
    }


def log_in(url: str, document: Any = None, query: str = "?nocatalog=true") -> requests.Response:
    return requests.post(f"{url}/v3/auth/tokens{query}", json=document or question(), timeout=2)


def statistics(url: str, token: str) -> requests.Response:
    return requests.get(url + statistics_path(), headers={"X-Auth-Token": token}, timeout=2)


def test_iam__with_the_right_password__issues_a_token(url: str) -> None:
    response = log_in(url)

    assert response.status_code == 201
    token = response.headers["X-Subject-Token"]
    assert len(token) > 1024
    about = response.json()["token"]
    assert about["issued_at"] == "2023-11-14T22:13:20.000000Z"
    assert about["expires_at"] == "2023-11-15T22:13:20.000000Z"
    assert "catalog" not in about
    assert statistics(url, token).status_code == 200


def test_iam__without_nocatalog__sends_the_catalog(url: str) -> None:
    assert len(log_in(url, query="").json()["token"]["catalog"]) == 200


def test_token__after_its_life__is_refused(url: str, clock: Clock) -> None:
    token = log_in(url).headers["X-Subject-Token"]
    clock.at += 24 * 3600 - 1
    assert statistics(url, token).status_code == 200
    clock.at += 1
    response = statistics(url, token)
    assert response.status_code == 401
    assert "token expires, expires_at: 2023-11-15T22:13:20.000000Z" in response.json()["error_msg"]


def test_revoke__of_one_token_or_all__refuses_only_those(url: str, iam: Iam) -> None:
    first, second, third = (log_in(url).headers["X-Subject-Token"] for _ in range(3))
    iam.revoke(second)
    assert [statistics(url, token).status_code for token in (first, second, third)] == [200, 401, 200]
    iam.revoke()
    assert [statistics(url, token).status_code for token in (first, third)] == [401, 401]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"user": {"password": "wrong"}}, 401),
        ({"user": {"name": "nobody"}}, 401),
        ({"user": {"name": ["probe"]}}, 401),
        ({"user": {"domain": {"name": "Other"}}}, 401),
        ({"user": {"domain": "Acme"}}, 400),
        ({"project": {"name": "nowhere"}}, 404),
        ({"project": {}}, 404),
    ],
)
def test_iam__with_wrong_credentials__refuses(url: str, changes: dict[str, Any], status: int) -> None:
    response = log_in(url, question(**changes))
    assert response.status_code == status
    assert response.json()["error"]["code"] == status
    assert "X-Subject-Token" not in response.headers


@pytest.mark.parametrize("user_state", ["disabled", "locked", "protected"])
def test_iam__for_a_user_who_may_not_log_in__refuses(url: str, iam: Iam, user_state: Any) -> None:
    iam.users["probe"] = User("secret", state=user_state)
    assert log_in(url).status_code == 401


def test_iam__without_a_login_in_a_post__refuses(url: str) -> None:
    assert requests.get(f"{url}/v3/auth/tokens", timeout=2).status_code == 405
    assert requests.post(f"{url}/v3/auth/tokens", data=b"{", timeout=2).status_code == 400
    assert log_in(url, {"auth": {}}).status_code == 400


def test_iam__plays_its_faults_and_then_logs_in(url: str, iam: Iam) -> None:
    iam.play("status_503", "throttled")
    assert [log_in(url).status_code for _ in range(3)] == [503, 429, 201]
    iam.play("wrong_password", for_ever=True)
    assert [log_in(url).status_code for _ in range(2)] == [401, 401]
    iam.play()
    assert log_in(url).status_code == 201
    assert len(iam.logins) == 6
    assert json.loads(iam.logins[0].body) == question()


def test_iam_play__with_an_unknown_fault__raises(iam: Iam) -> None:
    with pytest.raises(ValueError, match="unknown behaviour 'nope'"):
        iam.play("nope")
    assert FAULTS


def test_simulator__without_iam__has_no_token_path() -> None:
    with Simulator(tokens=[]) as simulator:
        assert log_in(simulator.url).status_code == 404


def test_command__serves_iam_users() -> None:
    with started("--iam-user=Acme/probe:secret", "--token-life=60") as (_, url):
        token = log_in(url, question(project={"name": "cn-north-4"})).headers["X-Subject-Token"]
        assert statistics(url, token).status_code == 404  # the instance is another one, the token is fine


@pytest.mark.parametrize(
    "text", ["--iam-user=probe:secret", "--iam-user=Acme/probe", "--token-life=0", "--token-life=x"]
)
def test_command__with_a_bad_iam_user__prints_one_line(text: str) -> None:
    ended = run(text)
    assert ended.returncode == 2
    assert "must be" in ended.stderr
    assert "secret" not in ended.stderr.replace("Acme/fdi-probe:secret", "")
