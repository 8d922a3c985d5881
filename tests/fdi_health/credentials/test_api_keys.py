"""The API keys of callers: the format of their secret, and how often it is read."""

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
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW, OTHER = b"old-key-0123456789", b"new-key-0123456789", b"another-key-0123456"


class FakeSecretStore:
    """A store in memory that can fail or hang."""

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
def store() -> FakeSecretStore:
    return FakeSecretStore(prometheus=OLD)


@pytest.fixture
def name_of(store: FakeSecretStore, clock: Clock) -> Callable[[bytes], str | None]:
    keys = ApiKeys(store, None, clock)
    return lambda key: name_in(keys, key)


def name_in(keys: ApiKeys, key: bytes, seconds: float = 1.0) -> str | None:
    caller = keys.find(key, Deadline.after(seconds))
    return caller.name if caller is not None else None


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
def test_parse_api_keys__key_or_object__returns_names_and_keys(
    secret: bytes, key: str | None, callers: dict[str, bytes]
) -> None:
    assert {caller.name: caller.key for caller in parse_api_keys(secret, key)} == callers


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
        (b'{"a":{"key":"short"}}', None, "entry 1 must be"),
        (b'{"a":{"remarks":true}}', None, "entry 1 must be"),
        (b'{"a":{"key":"0123456789abcdef","remarks":"yes"}}', None, "entry 1 must be"),
        (b'{"a":{"key":"0123456789abcdef","remark":true}}', None, "entry 1 must be"),
        (b'{"a":{"key":"0123456789abcdef","targets":"emea"}}', None, "entry 1 must be"),
        (b'{"a":{"key":"0123456789abcdef","targets":[]}}', None, "entry 1 must be"),
        (b'{"a":{"key":"0123456789abcdef","targets":["a b"]}}', None, "entry 1 must be"),
    ],
)
def test_parse_api_keys__malformed__names_entry_format_and_example(secret: bytes, key: str | None, words: str) -> None:
    message = unavailable(lambda: parse_api_keys(secret, key))
    assert words in message
    assert "0123" not in message
    if "must be" in words:
        assert '{"prometheus": "…", "grafana": "…"}' in message


@pytest.mark.parametrize(
    ("options", "expected"), [(b"", False), (b',"remarks":false', False), (b',"remarks":true', True)]
)
def test_parse_api_keys__object_of_a_caller__says_whether_it_sees_remarks(options: bytes, expected: bool) -> None:
    (caller,) = parse_api_keys(b'{"a":{"key":"0123456789abcdef"%s}}' % options, None)
    assert (caller.name, caller.key, caller.sees_remarks) == ("a", b"0123456789abcdef", expected)
    assert "0123" not in repr(caller)


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_parse_api_keys__any_bytes__are_keys_or_an_error(secret: bytes) -> None:
    try:
        callers = parse_api_keys(secret, None)
    except CheckError as error:
        assert error.code == "callers_unavailable"
    else:
        assert all(len(caller.key) >= 16 and b"." not in caller.key for caller in callers)


def test_name_of__known_key__reads_the_secret_once(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore
) -> None:
    assert [name_of(OLD) for _ in range(3)] == ["prometheus"] * 3
    assert store.reads == 1


def test_name_of__concurrent_callers__share_one_read(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore
) -> None:
    with ThreadPoolExecutor(16) as callers:
        assert set(callers.map(name_of, [OLD] * 16)) == {"prometheus"}
    assert store.reads == 1


def test_name_of__unknown_keys__read_the_secret_once_in_30_seconds(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock
) -> None:
    for _ in range(100):
        assert name_of(NEW) is None
    assert store.reads == 1  # it was read just now
    for _ in range(9):
        clock.at += 10
        assert [name_of(b"guess-%010d" % number) for number in range(10)] == [None] * 10
    assert store.reads == 4


def test_name_of__key_was_added__is_found_after_30_seconds(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock
) -> None:
    name_of(OLD)
    store.put(prometheus=OLD, grafana=NEW)
    clock.at += 30
    assert name_of(NEW) == "grafana"
    assert name_of(OLD) == "prometheus"  # two are valid during a rotation


def test_name_of__key_was_added__all_callers_wait_for_the_read(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock
) -> None:
    name_of(OLD)
    store.put(grafana=NEW)
    clock.at += 30
    store.hang = threading.Event()
    with ThreadPoolExecutor(8) as callers:
        names = [callers.submit(name_of, NEW) for _ in range(8)]
        time.sleep(0.1)
        store.hang.set()
        assert {name.result() for name in names} == {"grafana"}
    assert store.reads == 2


def test_name_of__key_was_removed__is_refused_after_five_minutes(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock
) -> None:
    assert name_of(OLD) == "prometheus"
    store.put(grafana=NEW)
    clock.at += 299
    assert name_of(OLD) == "prometheus"
    assert store.reads == 1
    clock.at += 1
    assert name_of(OLD) == "prometheus"  # at once; the secret is read beside it
    for _ in range(100):
        if name_of(OLD) is None:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the key never died")
    assert store.reads == 2


@pytest.mark.parametrize(("broken", "outcome"), [(False, None), (True, "unavailable")])
def test_name_of__keys_are_ten_minutes_old__reads_the_secret_first(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock, broken: bool, outcome: str | None
) -> None:
    assert name_of(OLD) == "prometheus"
    store.put(grafana=NEW)
    store.broken = broken
    clock.at += 600
    if outcome is None:
        assert name_of(OLD) is None
    else:
        unavailable(lambda: name_of(OLD))


def test_name_of__unreadable_secret__limits_the_reads(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock
) -> None:
    store.broken = True
    for _ in range(20):
        assert unavailable(lambda: name_of(OLD)) == "the callers' keys: the secret does not exist"
    assert store.reads == 3
    for _ in range(300):
        clock.at += 1
        unavailable(lambda: name_of(OLD))
    assert store.reads < 20
    assert name_of(b"x") is None
    store.broken = False
    clock.at += 30
    assert name_of(OLD) == "prometheus"


@pytest.mark.parametrize("key", [b"", b"short", b"eyJhbGciOiJub25lIn0.e30.", b"k" * 600])
def test_name_of__malformed_key__reads_no_secret(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock, key: bytes
) -> None:
    name_of(OLD)
    clock.at += 60
    assert name_of(key) is None
    assert store.reads == 1


def test_name_of__secret_becomes_readable__finds_the_key(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore
) -> None:
    store.broken = True
    assert unavailable(lambda: name_of(OLD)) == "the callers' keys: the secret does not exist"
    store.broken = False
    assert name_of(OLD) == "prometheus"


def test_name_of__second_read_fails__known_keys_stay_valid(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock
) -> None:
    name_of(OLD)
    store.broken = True
    clock.at += 30
    assert "does not exist" in unavailable(lambda: name_of(NEW))
    assert "the last attempt to read them again failed" in unavailable(lambda: name_of(NEW))
    assert name_of(OLD) == "prometheus"
    assert store.reads == 2


def test_unreadable_secret__many_checks__backs_off_to_30_seconds(
    name_of: Callable[[bytes], str | None], store: FakeSecretStore, clock: Clock
) -> None:
    store.broken = True
    start, read = clock.at, []
    for tick in range(4 * 160):
        clock.at = start + tick / 4
        before = store.reads
        unavailable(lambda: name_of(OLD))
        read += [tick / 4] * (store.reads - before)
    assert read == [0.0, 0.25, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5, 121.5, 151.5]


def test_load__malformed_secret__says_what_to_do(store: FakeSecretStore) -> None:
    store.secret = b"short"
    with pytest.raises(CheckError) as caught:
        ApiKeys(store).load(Deadline.after(1))
    assert caught.value.message.startswith("the callers' keys: entry 1 must be")
    assert "the secret that FDI_CALLERS names" in (caught.value.next_step or "")


def test_name_of__json_key_in_the_url__selects_the_keys(store: FakeSecretStore) -> None:
    store.secret = b'{"callers":{"grafana":"%s"}}' % OLD
    assert name_in(ApiKeys(store, "callers"), OLD) == "grafana"


def test_name_of__read_exceeds_its_limit__is_unavailable(store: FakeSecretStore) -> None:
    store.hang = threading.Event()
    keys = ApiKeys(store, max_read_seconds=0.1)
    began = time.monotonic()
    assert "before the deadline" in unavailable(lambda: name_in(keys, OLD, 0.3))
    assert_within(began, 0.3)
    store.hang.set()


def test_api_keys__repr__hides_the_keys(store: FakeSecretStore) -> None:
    keys = ApiKeys(store)
    keys.find(OLD, Deadline.after(1))
    for value in (keys, Secret(OLD, "1")):
        assert OLD.decode() not in repr(value)
