"""Asks several targets at the same time; one that is late or fails delays and hides no other one."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.log import log_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fdi_health.clock import Deadline

Item = TypeVar("Item")
Result = TypeVar("Result")

GRACE_SECONDS = 0.1
"""How long after the deadline a result is taken that was made at the deadline."""

_MAX_THREADS = 512


class FanOut:
    """Threads that wait for targets. One target is asked on the caller's own thread."""

    def __init__(self) -> None:
        self._pool = DaemonThreadPool(_MAX_THREADS)

    def run(self, work: Callable[[Item], Result], items: Sequence[Item], deadline: Deadline) -> list[Result | None]:
        """Return the result for each item, in their order; None for one that is late or failed.

        Args:
            work: makes a result, by the deadline.
            items: what to work on.
            deadline: when the results must be here, with `GRACE_SECONDS` more.

        """
        if len(items) == 1:
            return [work(items[0])]
        futures: list[Future[Result]] = [Future() for _ in items]
        for item, future in zip(items, futures, strict=True):
            self._start(work, item, future)
        wait(futures, timeout=max(0.0, deadline.remaining()) + GRACE_SECONDS)
        return [future.result() if future.done() and future.exception() is None else None for future in futures]

    def _start(self, work: Callable[[Item], Result], item: Item, future: Future[Result]) -> None:
        def run() -> None:
            try:
                future.set_result(work(item))
            except Exception as error:  # noqa: BLE001 -- a fault of ours with one target must not hide the others
                log_fault(error)
                future.set_exception(error)

        try:
            self._pool.submit(run)
        except RuntimeError as error:
            future.set_exception(error)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.close()
