"""`make soak`: callers for ten minutes while every dependency fails and recovers; each verdict must be true.

Two servers are asked over one simulated upstream. functions-framework runs in one process from beginning to end, with
two targets, of which one finds its instances in ROMA Connect's list; its memory, threads and descriptors must stay as
they are. The container's server, with settings of one project, with two workers, is stopped and started
again and again. Calm phases alternate with wild ones; in a calm phase not even `unknown` is right. A thread
of the soak's own that ends before its time is a failure like any other.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from simulator import Iam, Simulator, User
from tests.conftest import PROJECT_ID
from tests.faults import oracle
from tests.servers import container_server, functions_framework

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 600.0
DEADLINE, SPARE = 1.0, 0.3
CALLERS = 4
PHASE_SECONDS = 10.0
CALM_AFTER_SECONDS = 6.0
"""How long a wild phase goes on having effects: holds last 5 s, reads of a secret as long."""

WARM_UP_SECONDS = 300.0
"""By then every kind of phase has run once, also that of new passwords after two minutes, so that all modules
are imported and each thread's memory has its size."""

MOST_GROWTH = 2 * 1024 * 1024
NAMES = ("one", "two", "three")
WILD = (
    "healthy",
    "doc_example",
    "no_tasks",
    "status_503",
    "status_500",
    "silent",
    "reset",
    "drip_body",
    "truncated",
    "html_200",
    "huge",
    "close_idle",
    "reset_idle",
)
TOKENS = (*WILD, "error_APIGW_0301")
"""Played in every twelfth phase, with new passwords."""

LOGINS_REST_SECONDS = 62.0
"""How long it takes until IAM may be asked again, once ten tokens in a minute were refused or a first login failed."""

CALM = ("healthy", "doc_example", "no_tasks", "healthy", "close_idle")


class Truth:
    """What each instance plays since when, and when it was not calm."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plays: dict[str, collections.deque[tuple[float, str]]] = {
            name: collections.deque([(0.0, "healthy")], maxlen=400) for name in NAMES
        }
        self._wild: collections.deque[tuple[float, float]] = collections.deque(maxlen=50)

    def play(self, name: str, behaviour: str) -> None:
        """Note what an instance plays from now on."""
        with self._lock:
            self._plays[name].append((time.monotonic(), behaviour))

    def be_wild_until(self, end: float) -> None:
        """Note that anything may fail until then."""
        with self._lock:
            self._wild.append((time.monotonic(), end))

    def is_wild(self, began: float, ended: float) -> bool:
        """Whether anything may have failed at some moment in between."""
        with self._lock:
            return any(start <= ended and began <= end for start, end in self._wild)

    def allowed(self, began: float, ended: float) -> set[str]:
        """Return the verdicts that were true at some moment in between."""
        wild = self.is_wild(began, ended)
        with self._lock:
            possible = [self._statuses(plays, began, ended) for plays in self._plays.values()]
        found: set[str] = set()
        combinations: list[list[str]] = [[]]
        for statuses in possible:
            combinations = [[*before, status] for before in combinations for status in statuses]
        for combination in combinations:
            found.add(oracle.fleet(combination))
            if wild:
                # Any of them may be unknown, and those that are unhealthy then stay so or not.
                for at in range(len(combination)):
                    found.add(oracle.fleet([*combination[:at], "unknown", *combination[at + 1 :]]))
                found.add("unknown")
                if "healthy" in found:
                    # A token that can't be renewed while IAM fails is announced.
                    found.add("degraded")
        return found

    @staticmethod
    def _statuses(plays: collections.deque[tuple[float, str]], began: float, ended: float) -> set[str]:
        found: set[str] = set()
        for at, (since, behaviour) in enumerate(plays):
            until = plays[at + 1][0] if at + 1 < len(plays) else float("inf")
            if since <= ended and began - 0.02 <= until:
                found |= oracle.instance(behaviour)
        return found


class Faults:
    """What went wrong with the soak itself."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def thread(self, work: Callable[[], object]) -> threading.Thread:
        """Start a thread. It is a fault if an exception ends it."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 -- any exception must end the soak as a fault
                self.found.append(f"{work}: {error!r}")

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread


class Callers:
    """Threads that ask a server without a pause and hold each verdict to the truth.

    Args:
        truth: what is true.
        url: the server's.
        over: ends them.
        faults: told of a thread that ends before.
        cache_seconds: how old an answer may be.

    """

    def __init__(self, truth: Truth, url: str, over: threading.Event, faults: Faults, cache_seconds: float) -> None:
        self.calm = 0
        self._cache_seconds = cache_seconds
        self.verdicts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.late: list[float] = []
        self.lost = 0
        self._truth, self._url, self._over = truth, url, over
        self.may_be_down = threading.Event()
        self._lock = threading.Lock()
        self.threads = [faults.thread(self._ask) for _ in range(CALLERS)]

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=10)
        while not self._over.is_set():
            # A kept connection may be closed by a worker that is replaced, as by any server: that is no lost answer.
            reused = connection.sock is not None
            response, began = None, time.monotonic()
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                let_go = reused and response is None and isinstance(error, ConnectionError)
                if not let_go and not self.may_be_down.is_set():
                    with self._lock:
                        self.lost += 1
                    time.sleep(0.05)
                self._time(time.monotonic() - began)
                continue
            ended = time.monotonic()
            self._time(ended - began)
            self._judge(response.status, response.headers.get("FDI-Verdict", "none"), body, began, ended)

    def _time(self, took: float) -> None:
        if took > DEADLINE + SPARE:
            with self._lock:
                self.late.append(took)

    def _judge(self, status: int, verdict: str, body: bytes, began: float, ended: float) -> None:
        try:
            document = json.loads(body)
            age = document["age_seconds"] if self._cache_seconds else 0.0
            reason = document["reason"]
        except (ValueError, KeyError, TypeError):
            self.wrong.append(f"no verdict at all ({status})")
            return
        # What is kept was true when the upstream said it; its age counts from when it came, to a tenth of a second.
        since = began - age - 0.25 if self._cache_seconds else began
        allowed = self._truth.allowed(since, ended)
        consistent = (
            document.get("status") == verdict
            and (b"FDI-OK" in body) is (verdict in ("healthy", "degraded"))
            and status == (200 if verdict in ("healthy", "degraded") else 503)
            and age <= self._cache_seconds + (ended - began) + 0.1
        )
        with self._lock:
            self.verdicts[verdict] += 1
            self.calm += not self._truth.is_wild(since, ended)
            if verdict not in allowed or not consistent:
                self.wrong.append(f"{verdict} ({status}), right were {sorted(allowed)}: {reason}")


def chaos(truth: Truth, upstream: Simulator, iam: Iam, secret: Path, over: threading.Event) -> None:
    """Let everything flap, in wild and calm phases, until it is over."""
    generator = random.Random(7)  # noqa: S311 -- a story
    rotations = 0
    for phase in itertools.count(1):
        if over.is_set():
            return
        tokens = phase % 12 == 0
        wild = tokens or generator.random() < 0.5
        end = time.monotonic() + PHASE_SECONDS
        if wild:
            truth.be_wild_until(end + (LOGINS_REST_SECONDS if tokens else CALM_AFTER_SECONDS))
        while time.monotonic() < end and not over.wait(0.15):
            name = generator.choice(NAMES)
            behaviour = generator.choice(TOKENS if tokens else WILD if wild else CALM)
            # The truth is known before and after: what is asked in between may have seen either.
            truth.play(name, behaviour)
            upstream.play(f"id-{name}", behaviour)
            truth.play(name, behaviour)
            if generator.random() < 0.01:
                iam.revoke()
            if tokens and generator.random() < 0.05:
                rotations += 1
                password = f"password-{rotations}"
                iam.users["fdi-probe"] = User(password)
                secret.with_suffix(".new").write_text(credentials(password))
                secret.with_suffix(".new").replace(secret)
            # Only here: after a failed first login a process does not use its credentials for 30 seconds.
            if tokens and generator.random() < 0.1:
                iam.play(*generator.choices(["status_503", "status_500", "silent", "html_200", "reset"], k=2))
            if generator.random() < 0.1:
                upstream.drop_idle_connections()
        for name in NAMES:
            truth.play(name, "healthy")
            upstream.play(f"id-{name}", "healthy")
            truth.play(name, "healthy")
        iam.play()
        if wild:
            over.wait(CALM_AFTER_SECONDS)


def credentials(password: str) -> str:
    """Return the secret."""
    return json.dumps({"username": "fdi-probe", "password": password, "domain_name": "Acme"})


def with_targets(settings: dict[str, str], path: Path) -> dict[str, str]:
    """Write a document with two targets; return the settings with it in place of those of one project."""
    fields = {name: settings[f"FDI_{name.upper()}"] for name in ("endpoint", "iam_endpoint", "project_id", "token")}
    targets = [
        {"name": "named", **fields, "instances": {name: f"id-{name}" for name in NAMES[:2]}},
        {"name": "listed", **fields, "instances": "*", "exclude": list(NAMES[:2])},
    ]
    path.write_text(json.dumps({"targets": targets}))
    of_project = {*(f"FDI_{name.upper()}" for name in fields), "FDI_INSTANCES"}
    return {name: value for name, value in settings.items() if name not in of_project} | {
        "FDI_CONFIG": f"file://{path}"
    }


def footprint(pid: int) -> tuple[int, int, int]:
    """Return resident bytes, threads and descriptors of the worker under a server's process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    worker = children[0] if children else str(pid)
    pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
    return pages * 4096, len(list(Path(f"/proc/{worker}/task").iterdir())), len(os.listdir(f"/proc/{worker}/fd"))  # noqa: PTH208 -- only counted


def restarting(
    settings: dict[str, str], home: Path, truth: Truth, over: threading.Event, faults: Faults
) -> Iterator[Callers]:
    """Run the container's server and stop it every half minute, again and again; yields the callers of each run."""
    cache_seconds = float(settings["FDI_CACHE_SECONDS"])
    while not over.is_set():
        gone = threading.Event()
        with container_server(settings, home) as (url, process):
            callers = Callers(truth, url, gone, faults, cache_seconds)
            yield callers
            over.wait(30)
            callers.may_be_down.set()
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        gone.set()
        for thread in callers.threads:
            thread.join(15)


def main() -> int:
    """Run, print what was found, and return 0 if nothing was wrong."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    truth, over, faults = Truth(), threading.Event(), Faults()
    iam = Iam({"fdi-probe": User("password-0")}, project_id=PROJECT_ID, life_seconds=30)
    with (
        tempfile.TemporaryDirectory() as folder,
        Simulator(tokens=[], project_id=PROJECT_ID, iam=iam, remember=1000) as upstream,
    ):
        secret, homes = Path(folder) / "secret", [Path(folder) / "a", Path(folder) / "b"]
        for home in homes:
            home.mkdir()
        secret.write_text(credentials("password-0"))
        for name in NAMES:
            upstream.play(f"id-{name}", "healthy")
            upstream.instances.names[f"id-{name}"] = name
        settings = {
            "FDI_ENDPOINT": upstream.url,
            "FDI_IAM_ENDPOINT": upstream.url,
            "FDI_PROJECT_ID": PROJECT_ID,
            "FDI_INSTANCES": ",".join(f"{name}=id-{name}" for name in NAMES),
            "FDI_TOKEN": f"file://{secret}",
            "FDI_DEADLINE_SECONDS": str(DEADLINE),
            "FDI_CACHE_SECONDS": "0",
            "FDI_ANONYMOUS": "details",
            "WORKERS": "2",
        }
        runs: list[Callers] = []
        # One worker: of two, the one that is measured may be the one that gets no requests.
        several = with_targets({**settings, "WORKERS": "1"}, Path(folder) / "targets.json")
        with functions_framework(several, homes[0]) as (url, process):
            steady = Callers(truth, url, over, faults, 0.0)
            disturber = faults.thread(lambda: chaos(truth, upstream, iam, secret, over))
            recycled = {**settings, "FDI_CACHE_SECONDS": "1"}
            recycler = faults.thread(lambda: runs.extend(restarting(recycled, homes[1], truth, over, faults)))
            began = time.monotonic()
            over.wait(min(WARM_UP_SECONDS, seconds / 2))
            before = footprint(process.pid)
            with contextlib.suppress(KeyboardInterrupt):
                over.wait(max(0.0, seconds - (time.monotonic() - began)))
            after = footprint(process.pid)
            over.set()
            recycler.join(60)
            disturber.join(30)
            for thread in (*steady.threads, disturber, recycler):
                thread.join(15)
                if thread.is_alive():
                    faults.found.append(f"{thread} does not end")
    return report(seconds, [steady, *runs], before, after, faults.found)


def report(
    seconds: float,
    groups: list[Callers],
    before: tuple[int, int, int],
    after: tuple[int, int, int],
    faults: list[str],
) -> int:
    """Print the figures; return the exit status."""
    verdicts: collections.Counter[str] = sum((group.verdicts for group in groups), collections.Counter())
    wrong = [text for group in groups for text in group.wrong]
    late = [took for group in groups for took in group.late]
    lost, calm = sum(group.lost for group in groups), sum(group.calm for group in groups)
    growth = after[0] - before[0]
    print(f"{seconds:.0f} s, {sum(verdicts.values())} verdicts: {dict(verdicts)}; {calm} of them in calm phases")
    print(f"{len(wrong)} wrong, {len(late)} late (longest {max(late, default=0.0):.2f} s), {lost} answers lost")
    print(f"memory {before[0] / 2**20:.1f} -> {after[0] / 2**20:.1f} MiB, growth {growth / 2**20:.2f} MiB")
    print(f"threads {before[1]} -> {after[1]}, descriptors {before[2]} -> {after[2]}; servers started {len(groups)}")
    for text in wrong[:10]:
        print(f"  wrong: {text}")
    for text in faults:
        print(f"  the soak itself failed: {text}")
    flat = growth < MOST_GROWTH and after[1] <= before[1] + 12 and after[2] <= before[2] + 12
    return 0 if calm and not (wrong or late or lost or faults) and flat else 1


if __name__ == "__main__":
    sys.exit(main())
