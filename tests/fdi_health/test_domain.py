"""Deadlines, pools and foreign text, where the whole function can't show them."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Deadline, Instant, format_timestamp, now
from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.redaction import redact


def test_deadline__counts_down_to_nothing() -> None:
    moments = iter([10.0, 10.5, 12.0, 13.0, 11.0, 12.0])
    deadline = Deadline.after(2.0, lambda: next(moments))
    assert [deadline.remaining() for _ in range(3)] == [1.5, 0.0, 0.0]
    assert [deadline.expired for _ in range(2)] == [False, True]


@pytest.mark.parametrize(("seconds", "at"), [(0.0, 110.0), (2.0, 108.0), (5.0, 105.0), (50.0, 105.0)])
def test_earlier_deadline__leaves_half_of_the_time_at_least(seconds: float, at: float) -> None:
    assert Deadline(110.0, lambda: 100.0).earlier(seconds).at == at
    assert Deadline(90.0, lambda: 100.0).earlier(seconds).at == 90.0


@given(*[st.floats(0, 1e9)] * 4)
def test_elapsed__is_what_the_faster_clock_saw(wall: float, later_wall: float, mono: float, later_mono: float) -> None:
    elapsed = Instant(wall, mono).seconds_until(Instant(later_wall, later_mono))
    assert elapsed == max(0, later_wall - wall, later_mono - mono)


def test_now__reads_both_clocks() -> None:
    assert abs(now().wall - time.time()) < 1
    assert abs(now().monotonic - time.monotonic()) < 1


def test_pool__runs_everything_on_few_threads_and_reuses_them() -> None:
    pool = DaemonThreadPool(3)
    names: list[str] = []
    done = threading.Semaphore(0)

    def work() -> None:
        names.append(threading.current_thread().name)
        done.release()

    for _ in range(50):
        pool.submit(work)
        done.acquire(timeout=2)
    assert len(names) == 50
    assert len(set(names)) <= 2
    pool.close()


def test_pool__goes_no_further_than_its_size_and_does_not_stop_at_it() -> None:
    pool = DaemonThreadPool(2)
    gate, done = threading.Event(), threading.Semaphore(0)
    running: list[int] = []

    def work() -> None:
        running.append(1)
        gate.wait(5)
        done.release()

    for _ in range(10):
        pool.submit(work)
    time.sleep(0.1)
    assert len(running) == 2
    gate.set()
    assert all(done.acquire(timeout=2) for _ in range(10))
    pool.close()


class NoThread(threading.Thread):
    """A thread that the system has no room for."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_pool__that_gets_no_thread_says_so_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done = DaemonThreadPool(2), threading.Semaphore(0)
    with monkeypatch.context() as scarce:
        scarce.setattr(threading, "Thread", NoThread)
        with pytest.raises(RuntimeError):
            pool.submit(done.release)
    pool.submit(done.release)
    assert done.acquire(timeout=2)
    assert not done.acquire(timeout=0.05)
    pool.close()


def test_pool__that_gets_no_further_thread_goes_on_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, gate, done = DaemonThreadPool(2), threading.Event(), threading.Semaphore(0)

    def wait_for_gate() -> None:
        gate.wait(5)

    pool.submit(wait_for_gate)
    with monkeypatch.context() as scarce:
        scarce.setattr(threading, "Thread", NoThread)
        pool.submit(done.release)
    gate.set()
    assert done.acquire(timeout=2)
    pool.close()


@pytest.mark.parametrize("text", [None, 5, [], {}, True, "", " \n\x00"])
def test_foreign_text__that_is_none_stays_none(text: object) -> None:
    assert redact(text, "secret-token", 10) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\r\nb\x1b[31m\u202ec\u200bd\u2028e", "a b[31mcd e"),
        ("FDI-OK fdi-ok F\u200bDI-OK", "FDI_OK FDI_OK FDI_OK"),
        ("FDI-\u200bOK", "FDI_OK"),
        ("s e c r e t - t o k e n!", "[redacted]!"),
        ("secret\u200b-to\nken", "[redacted]"),
        ("token secret-token.", "token [redacted]."),
        ("SECRET-T and cret-tok", "[redacted] and [redacted]"),
        ("\ud800x", "x"),
        ("x" * 600, "x" * 512),
    ],
)
def test_foreign_text__is_cleaned(text: str, shown: str) -> None:
    assert redact(text, "secret-token", 512) == shown


@given(st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.integers(1, 60))
def test_foreign_text__never_shows_eight_characters_of_a_secret(text: str, secret: str, length: int) -> None:
    shown = redact(f"{text}{secret}{text}", secret, length) or ""
    assert len(shown) <= length
    assert "fdi-ok" not in shown.lower()
    window = min(8, len(secret))
    remainder = shown.replace("[redacted]", "\0").casefold()
    if not any(part in "[redacted]fdi_ok" for part in (secret[i : i + window].casefold() for i in range(len(secret)))):
        assert all(secret[i : i + window].casefold() not in remainder for i in range(len(secret) - window + 1))


SECRETS = st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=8, max_size=60), max_size=20)


@given(st.data(), SECRETS, st.text(max_size=30), st.text(max_size=30))
def test_foreign_text__with_any_eight_characters_of_several_secrets__redacts_them(
    data: st.DataObject, secrets: list[str], before: str, after: str
) -> None:  # H09
    shown = redact(f"{before} quotes {after}", secrets, 512)
    assert shown is None or "[redacted]" not in shown or any(len(secret) >= 8 for secret in secrets)
    for secret in secrets:
        start = data.draw(st.integers(0, len(secret) - 8))
        end = data.draw(st.integers(start + 8, len(secret)))
        part = secret[start:end]
        # Its case is changed only where no letter becomes two.
        echoed = part.upper() if part.isascii() and data.draw(st.booleans()) else part
        shown = redact(f"before {echoed} after", secrets, 512) or ""
        assert "[redacted]" in shown
        assert shown.replace("[redacted]", "") in (
            "before  after",
            "before  fter",
            "befor  after",
            "befor  fter",
        ) or all(part[place : place + 8].lower() not in shown.lower() for place in range(len(part) - 7))


def test_foreign_text__with_no_secret_is_only_cleaned() -> None:
    assert redact("text", "", 10) == "text"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "1970-01-01T00:00:00Z"),
        (-62_135_596_800.0, "0001-01-01T00:00:00Z"),  # D51
        (253_402_300_799.0, "9999-12-31T23:59:59Z"),
        (1e300, "a time beyond the calendar"),
        (float("nan"), None),
    ],
)
def test_moment_text__never_fails(seconds: float, text: str | None) -> None:
    assert format_timestamp(seconds) == (text or "a time beyond the calendar")


@pytest.mark.usefixtures("far_from_utc")
def test_moment_text__is_utc_wherever_we_are() -> None:
    assert format_timestamp(0.0) == "1970-01-01T00:00:00Z"
