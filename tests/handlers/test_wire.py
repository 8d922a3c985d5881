"""A source of bytes that is over when its time or its size is, whatever still comes."""

from __future__ import annotations

import io
from typing import Any

from handlers.wire import Bound, unreader_of


class Source:
    """What gunicorn reads from: a piece at a time, of the size that is hinted at or its own."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        return b"x" * (size_hint or 4)


def test_bound__lets_through_until_it_is_over() -> None:
    source, over = Source(), [False]
    bound = Bound(source, lambda: over[0], 100)
    assert (source.chunk(), source.chunk(7)) == (b"xxxx", b"xxxxxxx")
    over[0] = True
    assert source.chunk() == b""
    bound.lift()
    bound.lift()
    assert source.chunk() == b"xxxx"


def test_bound__lets_through_so_many_bytes_and_the_piece_that_reaches_them() -> None:
    source = Source()
    Bound(source, lambda: False, 8)
    assert [source.chunk() for _ in range(4)] == [b"xxxx", b"xxxx", b"", b""]


def test_bound__within_another_leaves_that_one_in_place() -> None:
    source = Source()
    outer = Bound(source, lambda: False, 12)
    inner = Bound(source, lambda: False, 4)
    assert [source.chunk(), source.chunk()] == [b"xxxx", b""]
    inner.lift()
    assert [source.chunk(), source.chunk(), source.chunk()] == [b"xxxx", b"xxxx", b""]
    outer.lift()
    assert source.chunk() == b"xxxx"


def test_bound__of_no_source_is_none() -> None:
    for nothing in (None, object()):
        Bound(nothing, lambda: True, 0).lift()


def test_unreader__is_found_behind_bodies_of_either_kind() -> None:
    class Thing:
        def __init__(self, **parts: Any) -> None:
            self.__dict__ |= parts

    source = Source()
    assert unreader_of(Thing(reader=Thing(unreader=source))) is source
    assert unreader_of(Thing(reader=Thing(req=Thing(unreader=source)))) is source
    assert unreader_of(io.BytesIO()) is None
