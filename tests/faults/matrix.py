"""The combinations: which fault, where and when it occurs, and through which entry point the request comes."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, NamedTuple

from simulator import fault_names
from simulator.iam import FAULTS as IAM_FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = ("wsgi", "rest api", "http api", "balancer", "functiongraph", "schedule")
POSITIONS = (0, 1, 2)
"""Which of three instances."""

MOMENTS = ("first call", "retry", "after renewal")
KEPT = "after a kept answer"
"""A good answer was given and kept for a moment, and that moment is over."""

NEIGHBOURS = ("healthy", "doc_example", "no_tasks")
"""What another instance plays beside the fault: the fleet's worst is not always the one that is struck."""

SETUPS = ("environment", "targets", "discovery")
"""Where the instances are named: in FDI_INSTANCES, in a document with two targets, or in ROMA Connect's own list."""

TOKEN_MOMENTS = ("cold", "renewal")
"""When a token is needed for the first time, and when the one that is held was refused."""

NETWORK = ("refused", "black hole", "no such name", "untrusted certificate", "no TLS at all")

VAULTS: dict[str, tuple[str, ...]] = {
    "env": ("missing", "empty", "line break", "no JSON", "no token in it", "half credentials", "UTF-16"),
    "file": ("missing", "empty", "a folder", "line break", "no token in it", "too long"),
    "google": (
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "INTERNAL",
        "silent",
        "wrong checksum",
        "gone",
        "no token in it",
    ),
    "aws": (
        "ResourceNotFoundException",
        "AccessDeniedException",
        "InvalidRequestException",
        "DecryptionFailure",
        "ThrottlingException",
        "InternalServiceError",
        "ExpiredTokenException",
        "silent",
        "gone",
        "neither string nor binary",
        "no token in it",
    ),
}
"""Secrets manager → the troubles it can be in."""


class Combination(NamedTuple):
    """One case.

    Attributes:
        source: `statistics`, `network`, `iam`, or a vault's name.
        fault: what goes wrong there.
        position: which instance it strikes, or None for all.
        moment: when.
        way: the entry point.
        neighbour: what one of the other instances plays.
        setup: where the instances are named.

    """

    source: str
    fault: str
    position: int | None
    moment: str
    way: str
    neighbour: str = "healthy"
    setup: str = "environment"

    def __str__(self) -> str:
        where = "" if self.position is None else f" at {self.position}"
        beside = "" if self.neighbour == "healthy" else f" beside {self.neighbour}"
        setup = "" if self.setup == "environment" else f", {self.setup}"
        return f"{self.source}: {self.fault}{where}{beside}, {self.moment}, {self.way}{setup}"


def combinations() -> Iterator[Combination]:
    """Yield every one there is."""
    neighbours = itertools.cycle(NEIGHBOURS)
    places = [*itertools.product(POSITIONS, MOMENTS, WAYS), *itertools.product((1,), (KEPT,), WAYS)]
    for number, fault in enumerate(fault_names()):
        # One step on for each fault, so that no place always has the same neighbour.
        for _ in range(number % len(NEIGHBOURS)):
            next(neighbours)
        for at, (position, moment, way) in enumerate(places):
            setup = SETUPS[(number + at // len(NEIGHBOURS)) % len(SETUPS)]
            yield Combination("statistics", fault, position, moment, way, next(neighbours), setup)
    # Without a network or a token there is no list of instances, so no instance to be unknown.
    setups = itertools.cycle(SETUPS[:2])
    for fault in NETWORK:
        for way in WAYS:
            yield Combination("network", fault, None, "first call", way, setup=next(setups))
        next(setups)
    tokens = [("iam", fault) for fault in (*IAM_FAULTS, "refused", "black hole")]
    tokens += [(vault, fault) for vault, faults in VAULTS.items() for fault in faults]
    for (source, fault), moment, way in itertools.product(tokens, TOKEN_MOMENTS, WAYS):
        # Settings do not change while a process runs: with these there never is a token to be renewed.
        if not (moment == "renewal" and (source == "env" or fault in ("refused", "black hole"))):
            yield Combination(source, fault, None, moment, way, setup=next(setups))


def sample(size: int, seed: int) -> list[Combination]:
    """Return some of them, the same ones for the same seed; every source, fault and way is among them."""
    generator = random.Random(seed)  # noqa: S311 -- a choice of tests
    every = list(combinations())
    generator.shuffle(every)
    seen: set[tuple[str, str]] = set()
    first: list[Combination] = []
    rest: list[Combination] = []
    for combination in every:
        key = (combination.source, combination.fault)
        (rest if key in seen else first).append(combination)
        seen.add(key)
    return first + rest[: max(0, size - len(first))]
