"""The instances as the rows of the status page, the worst first, with counts, warnings, mutes and next steps. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fdi_health.models import WORST_FIRST, counts_by_group, total
from fdi_health.reasons import next_steps, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fdi_health.models import Details, InstanceVerdict, ListedMute, TaskCounts, VerdictWarning

_WIDTH, _MIN_WIDTH = 100, 3
"""Of a bar, and of a part of it that is not empty: one abnormal task among thousands must be seen."""


class Row(NamedTuple):
    """One instance on the page.

    Attributes:
        instance: its part of the verdict.
        counts: the counts of all groups, added up; None if it gave none.
        warnings: those about this instance.
        mutes: the mutes of it and of its tasks that have not ended.
        owner: who can mend what is wrong, or None.
        steps: what to do about it, each with the name of an earlier instance that has the same step, or None.

    """

    instance: InstanceVerdict
    counts: TaskCounts | None
    warnings: Sequence[VerdictWarning]
    mutes: Sequence[ListedMute]
    owner: str | None
    steps: Sequence[tuple[str, str | None]] = ()

    @property
    def needs_attention(self) -> bool:
        """Whether there is something to read beyond the counts."""
        return self.instance.status != "healthy" or bool(self.warnings)

    @property
    def bar(self) -> Iterator[tuple[str, int, int]]:
        """The parts of the bar that are not empty: the name of the count, where the part begins, its width."""
        counts = {} if self.counts is None else {name: count for name, count in by_name(self.counts) if count}
        spare, all_tasks, begin = _WIDTH - _MIN_WIDTH * len(counts), sum(counts.values()), 0
        for name, count in counts.items():
            width = _MIN_WIDTH + round(spare * count / all_tasks)
            yield name, begin, width
            begin += width


def rows_of(details: Details) -> list[Row]:
    """Return the instances, the worst first; of equally bad ones, that with the most abnormal tasks."""
    warnings: dict[tuple[str | None, str | None], list[VerdictWarning]] = {}
    for warning in details.warnings:
        warnings.setdefault(warning.key, []).append(warning)
    mutes: dict[tuple[str | None, str], list[ListedMute]] = {}
    for mute in details.mutes:
        mutes.setdefault((mute.target, mute.instance), []).append(mute)
    rows = []
    for instance in details.instances:
        own = warnings.get(instance.key, [])
        counts = total(instance) if counts_by_group(instance) else None
        rows.append(Row(instance, counts, own, mutes.get(instance.key, []), owner_of(instance, own)))
    rows.sort(key=lambda row: (WORST_FIRST.index(row.instance.status), -_abnormal(row)))
    first: dict[str, str] = {}
    return [row._replace(steps=list(_steps(row, first))) for row in rows]


def by_name(counts: TaskCounts) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of each count, abnormal tasks first."""
    yield "abnormal", counts.abnormal_tasks_count
    yield "running", counts.running_tasks_count
    yield "completed", counts.completed_tasks_count
    yield "terminated", counts.terminated_tasks_count


def _steps(row: Row, first: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield the steps of a row; `first` has the instances that had them first, and gets those that are new."""
    name = row.instance.label
    for step in dict.fromkeys(next_steps(row.instance, row.warnings)):
        earlier = first.setdefault(step, name)
        yield step, earlier if earlier != name else None


def _abnormal(row: Row) -> int:
    return row.counts.abnormal_tasks_count if row.counts is not None else 0
