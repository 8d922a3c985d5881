"""What the callers' secret may hold, and how often it is read."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Deadline, Instant
from fdi_health.credentials.api_keys import ApiKeys, parse_api_keys
from fdi_health.errors import CheckError
from fdi_health.secret_stores import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW, OTHER = b"old-key-0123456789", b"new-key-0123456789", b"another-key-0123456"


class Shelf:
    """A store in memory; what it holds may be an error's message."""

    def __init__(self, **callers: bytes) -> None:
        self.put(**callers)
        self.reads = 0
        self.broken = False
        self.hang: threading.Event | None = None

    def put(self, **callers: bytes) -> None:
        self.secret = json.dumps({name: key.decode() for name, key in callers.items()}).encode()

    def read(self, deadline: Deadline) -> Secret:
        self.reads += 1
        if self.hang:
            self.hang.wait(20)
        if self.broken:
            raise CheckError("token_unavailable", "the secret does not exist")
        return Secret(self.secret)


class Clock:
    """Both clocks, set by hand."""

    at = 1000.0

    def __call__(self) -> Instant:
        return Instant(self.at, self.at)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(prometheus=OLD)


@pytest.fixture
def name_of(shelf: Shelf, clock: Clock) -> Callable[[bytes], str | None]:
    keys = ApiKeys(shelf, None, clock)
    return lambda key: keys.name_of(key, Deadline.after(1))


def unavailable(call: Callable[[], object]) -> str:
    with pytest.raises(CheckError) as caught:
        call()
    assert caught.value.code == "callers_unavailable"
    assert caught.value.next_step
    return caught.value.message


@pytest.mark.parametrize(
    ("secret", "key", "callers"),
    [
        (OLD, None, {"caller": OLD}),
        (b"X-0123456789abcdef", None, {"caller": b"X-0123456789abcdef"}),
        (b"\xef\xbb\xbf " + OLD + b"\r\n", None, {"caller": OLD}),
        (
            b'{"a":"0123456789abcdef","b":"0123456789ABCDEF"}',
            None,
            {"a": b"0123456789abcdef", "b": b"0123456789ABCDEF"},
        ),
        (b'{"fdi":"0123456789abcdef"}', "fdi", {"caller": b"0123456789abcdef"}),
        (b'{"fdi":{"a":"0123456789abcdef"},"token":"x"}', "fdi", {"a": b"0123456789abcdef"}),
    ],
)
def test_callers__are_one_key_or_names_and_keys(secret: bytes, key: str | None, callers: dict[str, bytes]) -> None:
    assert parse_api_keys(secret, key) == callers


@pytest.mark.parametrize(
    ("secret", "key", "words"),
    [
        (b"", None, "is empty"),
        (b"\xff\xfek\0", None, "UTF-16"),
        (b"{}", None, "contains none"),
        (b"[]", None, "not an object"),
        (b"{", None, "not valid JSON"),
        (b'{"a":"0123456789abcdef","a":"0123456789abcdeg"}', None, "stands twice"),
        (b"short-key", None, "entry 1 must be"),
        (b"a.key.with.dots.0123", None, "entry 1 must be"),
        (b"a key with spaces 0123", None, "entry 1 must be"),
        ("schlüssel-0123456789".encode(), None, "entry 1 must be"),
        (b'{"a":"0123456789abcdef","b":"short"}', None, "entry 2 must be"),
        (b'{"a":"0123456789abcdef","b":["0123456789abcdef"]}', None, "entry 2 must be"),
        (b'{"a b":"0123456789abcdef"}', None, "entry 1 must be"),
        (b'{"a":"0123456789abcdef","b":"0123456789abcdef"}', None, "entry 2 has the key of an earlier entry"),
        (b'{"a":"0123456789abcdef"}', "b", "entry 1 must be"),
        (b"k" * 513, None, "entry 1 must be"),
        (b'{"a":5}', None, "entry 1 must be"),
    ],
)
def test_malformed_callers__are_named_by_entry_form_and_example(secret: bytes, key: str | None, words: str) -> None:
    message = unavailable(lambda: parse_api_keys(secret, key))
    assert words in message
    assert "0123" not in message
    if "must be" in words:
        assert '{"prometheus": "…", "grafana": "…"}' in message


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_callers__any_bytes_are_keys_or_a_fault(secret: bytes) -> None:
    try:
        callers = parse_api_keys(secret, None)
    except CheckError as error:
        assert error.code == "callers_unavailable"
    else:
        assert all(len(key) >= 16 and b"." not in key for key in callers.values())


def test_known_key__is_read_once(name_of: Callable[[bytes], str | None], shelf: Shelf) -> None:
    assert [name_of(OLD) for _ in range(3)] == ["prometheus"] * 3
    assert shelf.reads == 1


def test_keys__are_read_once_for_everybody(name_of: Callable[[bytes], str | None], shelf: Shelf) -> None:
    with ThreadPoolExecutor(16) as callers:
        assert set(callers.map(name_of, [OLD] * 16)) == {"prometheus"}
    assert shelf.reads == 1


def test_unknown_key__reads_again_at_most_once_in_30_seconds(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock
) -> None:
    for _ in range(100):
        assert name_of(NEW) is None
    assert shelf.reads == 1  # it was read just now
    for _ in range(9):
        clock.at += 10
        assert [name_of(b"guess-%010d" % number) for number in range(10)] == [None] * 10
    assert shelf.reads == 4


def test_key_that_was_added__works_at_once_after_30_seconds(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock
) -> None:
    name_of(OLD)
    shelf.put(prometheus=OLD, grafana=NEW)
    clock.at += 30
    assert name_of(NEW) == "grafana"
    assert name_of(OLD) == "prometheus"  # two are valid during a rotation


def test_key_that_was_added__works_for_all_who_present_it_meanwhile(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock
) -> None:
    name_of(OLD)
    shelf.put(grafana=NEW)
    clock.at += 30
    shelf.hang = threading.Event()
    with ThreadPoolExecutor(8) as callers:
        names = [callers.submit(name_of, NEW) for _ in range(8)]
        time.sleep(0.1)
        shelf.hang.set()
        assert {name.result() for name in names} == {"grafana"}
    assert shelf.reads == 2


def test_key_that_was_taken_out__dies_within_five_minutes_of_use(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock
) -> None:
    assert name_of(OLD) == "prometheus"
    shelf.put(grafana=NEW)
    clock.at += 299
    assert name_of(OLD) == "prometheus"
    assert shelf.reads == 1
    clock.at += 1
    assert name_of(OLD) == "prometheus"  # at once; the secret is read beside it
    for _ in range(100):
        if name_of(OLD) is None:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the key never died")
    assert shelf.reads == 2


@pytest.mark.parametrize(("broken", "outcome"), [(False, None), (True, "unavailable")])
def test_key__is_good_for_ten_minutes_without_a_new_look(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock, broken: bool, outcome: str | None
) -> None:
    assert name_of(OLD) == "prometheus"
    shelf.put(grafana=NEW)
    shelf.broken = broken
    clock.at += 600
    if outcome is None:
        assert name_of(OLD) is None
    else:
        unavailable(lambda: name_of(OLD))


def test_unreadable_secret__is_not_read_without_end(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock
) -> None:
    shelf.broken = True
    for _ in range(20):
        assert unavailable(lambda: name_of(OLD)) == "the callers' keys: the secret does not exist"
    assert shelf.reads == 3
    for _ in range(300):
        clock.at += 1
        unavailable(lambda: name_of(OLD))
    assert shelf.reads < 20
    assert name_of(b"x") is None
    shelf.broken = False
    clock.at += 30
    assert name_of(OLD) == "prometheus"


@pytest.mark.parametrize("key", [b"", b"short", b"eyJhbGciOiJub25lIn0.e30.", b"k" * 600])
def test_text_that_can_be_no_key__costs_no_read(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock, key: bytes
) -> None:
    name_of(OLD)
    clock.at += 60
    assert name_of(key) is None
    assert shelf.reads == 1


def test_unreadable_secret__is_unavailable_until_it_can_be_read(
    name_of: Callable[[bytes], str | None], shelf: Shelf
) -> None:
    shelf.broken = True
    assert unavailable(lambda: name_of(OLD)) == "the callers' keys: the secret does not exist"
    shelf.broken = False
    assert name_of(OLD) == "prometheus"


def test_secret_that_can_not_be_read_again__keeps_the_keys_it_had(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock
) -> None:
    name_of(OLD)
    shelf.broken = True
    clock.at += 30
    assert "does not exist" in unavailable(lambda: name_of(NEW))
    assert "the last attempt to read them again failed" in unavailable(lambda: name_of(NEW))
    assert name_of(OLD) == "prometheus"
    assert shelf.reads == 2


def test_secret_that_can_not_be_read__is_read_again_after_1_2_4_and_at_most_30_seconds(
    name_of: Callable[[bytes], str | None], shelf: Shelf, clock: Clock
) -> None:
    shelf.broken = True
    start, read = clock.at, []
    for tick in range(4 * 160):
        clock.at = start + tick / 4
        before = shelf.reads
        unavailable(lambda: name_of(OLD))
        read += [tick / 4] * (shelf.reads - before)
    assert read == [0.0, 0.25, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5, 121.5, 151.5]


def test_secret_that_is_no_list_of_callers__says_so_and_what_to_do(shelf: Shelf) -> None:
    shelf.secret = b"short"
    with pytest.raises(CheckError) as caught:
        ApiKeys(shelf).load(Deadline.after(1))
    assert caught.value.message.startswith("the callers' keys: entry 1 must be")
    assert "the secret that FDI_CALLERS names" in (caught.value.next_step or "")


def test_keys_under_a_key__are_found(shelf: Shelf) -> None:
    shelf.secret = b'{"callers":{"grafana":"%s"}}' % OLD
    assert ApiKeys(shelf, "callers").name_of(OLD, Deadline.after(1)) == "grafana"


def test_read__longer_than_its_limit__is_unavailable(shelf: Shelf) -> None:
    shelf.hang = threading.Event()
    keys = ApiKeys(shelf, max_read_seconds=0.1)
    began = time.monotonic()
    assert "before the deadline" in unavailable(lambda: keys.name_of(OLD, Deadline.after(0.3)))
    assert time.monotonic() - began < 0.3
    shelf.hang.set()


def test_repr__hides_the_keys(shelf: Shelf) -> None:
    keys = ApiKeys(shelf)
    keys.name_of(OLD, Deadline.after(1))
    for value in (keys, Secret(OLD, "1")):
        assert OLD.decode() not in repr(value)
