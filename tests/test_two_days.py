"""Two days of checks while tokens expire, are revoked and rotate: no false alarm for a token that could be renewed.

Time is simulated: the function and the simulated IAM read clocks that the test sets. Everything else is real, HTTP over
loopback included.
"""

from __future__ import annotations

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from fdi_health.clock import Instant
from simulator import User
from tests.conftest import PASSWORD, TOKEN
from tests.servers import functions_framework

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Iam, Simulator
    from tests.conftest import Function

MINUTE, HOUR = 60.0, 3600.0
STEP = 3 * MINUTE
"""How often the function is asked."""

RETRY_WAIT = 0.5
"""More than a login waits before it is sent again, in real seconds."""

NOON = 1_763_899_200.0


class World:
    """The true time, and the clocks of a function that may be wrong about it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.skew = 0.0
        self.frozen = 0.0

    def true(self) -> float:
        return NOON + self.seconds

    def ours(self) -> Instant:
        return Instant(self.true() + self.skew, self.seconds - self.frozen)


def more_logins(iam: Iam, number: int) -> bool:
    return len(iam.logins) > number


def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so, or for so many real seconds."""
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.02)  # for the response


def credentials(password: str) -> str:
    return json.dumps({"username": "fdi-probe", "password": password, "domain_name": "Acme"})


@pytest.mark.parametrize("seed", [1, 2] if os.environ.get("ALL_FAULTS") == "1" else [1])
def test_two_days__with_credentials__need_no_person(
    function: Callable[..., Function], upstream: Simulator, iam: Iam, tmp_path: Path, seed: int
) -> None:
    world, generator = World(), random.Random(seed)  # noqa: S311 -- a story, no secret
    iam.clock, iam.life_seconds = world.true, 2 * HOUR
    upstream.tokens.clear()
    secret = tmp_path / "credentials"
    secret.write_text(credentials(PASSWORD))
    checked = function("healthy", "healthy", "healthy", clock=world.ours, FDI_TOKEN=f"file://{secret}")
    revoked = rotated = 0
    freezing = hiccup = False
    statuses = set()

    with ThreadPoolExecutor(3) as callers:
        while world.seconds < 48 * HOUR:
            chance = generator.random()
            if chance < 0.01:
                iam.revoke()  # somebody changed a group's permissions
                revoked += 1
            elif chance < 0.02:
                rotated += 1
                password = f"password-number-{rotated}"
                iam.users["fdi-probe"] = User(password)
                secret.write_text(credentials(password))
                iam.revoke()
            elif chance < 0.05:
                iam.play("status_503")  # IAM hiccups
                hiccup = True
            elif chance < 0.08:
                world.skew = generator.choice([0.0, -HOUR, HOUR, -26 * HOUR, 26 * HOUR])
            elif chance < 0.11:
                freezing = not freezing  # a platform stops the monotonic clock for a while
            logins = len(iam.logins)
            statuses |= set(callers.map(lambda _: checked.verdict()["status"], range(3)))
            time.sleep(0.002)
            if hiccup and len(iam.logins) > logins:
                # The login is repeated a real tenth of a second later: not the minutes that pass here.
                until(partial(more_logins, iam, logins + 1), RETRY_WAIT)
                hiccup = False
            world.seconds += STEP
            world.frozen += STEP * freezing

    # A renewal that IAM's hiccups kept failing may be announced before it succeeds; nobody is ever paged.
    assert statuses <= {"healthy", "degraded"}
    assert revoked > 3
    assert rotated > 3
    # A login for each two hours less the tenth, one for each revocation or rotation, and a few for clocks that jump.
    assert len(iam.logins) < 48 / 1.8 + 2 * (revoked + rotated) + 100


def test_two_days__with_a_token__warn_before_it_expires(
    function: Callable[..., Function], upstream: Simulator, iam: Iam, tmp_path: Path
) -> None:
    world = World()
    iam.clock = world.true
    secret = tmp_path / "token"
    checked = function("healthy", clock=world.ours, FDI_TOKEN=f"file://{secret}")
    ends = 0.0
    seen: list[tuple[float, str]] = []

    def replace_token() -> None:
        nonlocal ends
        token = f"token-{world.seconds}"
        ends = world.true() + 24 * HOUR
        iam.issued[token] = ends
        secret.write_text(json.dumps({"token": token, "expires_at": ends_text(ends)}))

    replace_token()
    while world.seconds < 48 * HOUR:
        left = ends - world.true()
        if left <= 20 * MINUTE and world.seconds < 24 * HOUR:
            replace_token()  # the engineer who read the warning, at the last moment
        seen.append((left, checked.verdict()["status"]))
        time.sleep(0.002)
        world.seconds += STEP

    first_day = [status for left, status in seen[: int(24 * HOUR / STEP)] if left > HOUR]
    warned = [status for left, status in seen if 20 * MINUTE < left <= HOUR]
    dead = [status for left, status in seen if left <= 0]
    assert set(first_day) == {"healthy"}
    assert set(warned) == {"degraded"}
    assert seen[int(24 * HOUR / STEP) + 5][1] == "healthy"
    assert set(dead) <= {"unknown"}  # nobody replaced the second one


def ends_text(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_two_processes__after_a_rotation__log_in_once_each(upstream: Simulator, iam: Iam, tmp_path: Path) -> None:
    names = [f"i{number}" for number in range(6)]
    for name in names:
        upstream.play(name, "healthy")
    upstream.tokens.discard(TOKEN)
    secret = tmp_path / "credentials"
    secret.write_text(credentials(PASSWORD))
    settings = {
        "FDI_ENDPOINT": upstream.url,
        "FDI_IAM_ENDPOINT": upstream.url,
        "FDI_PROJECT_ID": upstream.project_id,
        "FDI_INSTANCES": ",".join(names),
        "FDI_TOKEN": f"file://{secret}",
        "FDI_CACHE_SECONDS": "0",
    }

    def ask(url: str) -> str:
        import requests

        verdict: str = requests.get(url, timeout=10).headers["FDI-Verdict"]
        return verdict

    for home in ("one", "two"):
        (tmp_path / home).mkdir()
    with (
        functions_framework(settings, tmp_path / "one") as (one, _),
        functions_framework(settings, tmp_path / "two") as (two, _),
        ThreadPoolExecutor(48) as callers,
    ):
        assert set(callers.map(ask, [one, two] * 24)) == {"healthy"}
        assert len(iam.logins) == 2  # one each, for 24 cold requests at once
        for password in ("second-password", "third-password"):
            iam.users["fdi-probe"] = User(password)
            secret.write_text(credentials(password))
            iam.revoke()
            assert set(callers.map(ask, [one, two] * 24)) == {"healthy"}
        assert len(iam.logins) == 6
