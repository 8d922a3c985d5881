"""Several targets at the same time: a fault of ours with one, or no thread for it, hides no other one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fdi_health.clock import Deadline
from fdi_health.service.fan_out import FanOut
from tests.machine import assert_within

if TYPE_CHECKING:
    import pytest


def test_run__one_item_raises__is_none_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    found = FanOut().run(lambda item: 6 // item, [1, 0, 2], Deadline.after(1))
    assert found == [6, None, 3]
    assert "fdi-health itself failed" in caplog.text


def test_run__one_item_hangs__is_none_soon_after_the_deadline() -> None:
    never = threading.Event()
    began = time.monotonic()
    found = FanOut().run(lambda item: item or never.wait(), [0, 5], Deadline.after(0.2))
    assert found == [None, 5]
    assert_within(began, 0.2 + 0.3)
    never.set()


def test_run__no_thread__is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert FanOut().run(lambda item: item, [1, 2], Deadline.after(0.2)) == [None, None]


def test_run__one_item__is_done_on_the_own_thread() -> None:
    assert FanOut().run(lambda _: threading.current_thread(), [0], Deadline.after(1)) == [threading.current_thread()]
