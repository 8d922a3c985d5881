"""The simulated service: it chooses the response to each request by token, limit and the script of its instance."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from simulator.authentication import Authentication
from simulator.csms import PATH as CSMS_PATH
from simulator.csms import Csms
from simulator.documented_responses import DOC_PROJECT_ID, NO_TASKS, error_response
from simulator.faults import behaviour_named
from simulator.iam import PATH as IAM_PATH
from simulator.instance_statistics import instance_statistics_response
from simulator.instances import PATH as INSTANCES_PATH
from simulator.instances import Instances
from simulator.monitors import PATH as MONITORS_PATH
from simulator.monitors import Monitors
from simulator.request_parser import INSTANCE_PATH, Request, project_of
from simulator.responses import Responder, Response, body_response, statistics_response
from simulator.script import Script
from simulator.server import HOST, LoopbackServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from simulator.access_keys import AccessKeys
    from simulator.iam import Iam


class Simulator(Authentication):
    """ROMA Connect FDI's task statistics on 127.0.0.1, for as long as it is used as a context manager.

    Args:
        project_id: the project of instances that play without another one. A project of none is answered with FDI.3039.
        tokens: what X-Auth-Token may hold. `tokens` may be changed while the server runs.
        restricted_tokens: tokens of a user who sees no task: plain statistics come with eight zeros.
        iam: issues tokens under `/v3/auth/tokens`, which are accepted while they live; None for no such API.
        access_keys: verifies signed requests, which need no token; the key's ID → secret key, or an `AccessKeys`.
        latency_seconds: time before every response begins; may be changed while the server runs.
        port: 0 takes a free one.
        ssl_context: server-side context; with one, `url` is https.
        remember: how many of the newest requests `requests` holds; None is all of them.

    `instance_statistics` holds the response for an instance's own statistics (GetInstanceConnectionStatistic) if it is
    not to be the sum of the task statistics that the instance plays. `csms` holds secrets. `monitors` holds the names
    and logs of tasks. `instances` holds names and states for the list of the instances that play something.
    `token_fault` is the error code that answers a refused token. `limit_per_second` is how many requests a token may
    make within any second before it gets 429, None for no limit.

    """

    def __init__(
        self,
        *,
        tokens: Iterable[str],
        project_id: str = DOC_PROJECT_ID,
        restricted_tokens: Iterable[str] = (),
        access_keys: Mapping[str, str] | AccessKeys | None = None,
        iam: Iam | None = None,
        latency_seconds: float = 0.0,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        remember: int | None = None,
    ) -> None:
        super().__init__(tokens, restricted_tokens, access_keys, iam)
        self.project_id = project_id
        self.latency_seconds = latency_seconds
        self.instance_statistics: dict[str, Response] = {}
        self.csms = Csms()
        self.monitors = Monitors()
        self.instances = Instances()
        self._scripts: dict[str, Script] = {}
        self._projects: dict[str, str] = {}
        self._seen: deque[Request] = deque(maxlen=remember)
        self._seen_lock = Lock()
        self._asked_port = port
        self._ssl_context = ssl_context
        self._server: LoopbackServer | None = None

    def __enter__(self) -> Self:
        """Start listening. Raises: OSError when the port cannot be had."""
        if self._server is not None:
            raise RuntimeError("this simulator is running already")
        self._server = LoopbackServer(self._decide, self._asked_port, self._ssl_context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the listener and every connection, and wait for the thread to end."""
        server, self._server = self._running, None
        server.stop()

    @property
    def _running(self) -> LoopbackServer:
        if self._server is None:
            raise RuntimeError("the simulator is not running: use it in a with statement")
        return self._server

    @property
    def port(self) -> int:
        """The port that is listened on. Raises: RuntimeError when not running."""
        return self._running.port

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end. Raises: RuntimeError when not running."""
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://{HOST}:{self.port}"

    @property
    def connections_open(self) -> int:
        """How many clients are connected. Raises: RuntimeError when not running."""
        return self._running.connections_open

    def drop_idle_connections(self) -> int:
        """Reset (RST) every connection that is idle in keep-alive, and return how many there were.

        Raises: RuntimeError when not running.
        """
        return self._running.drop_idle_connections()

    def play(self, instance_id: str, *behaviours: str | Response | Responder, project_id: str | None = None) -> None:
        """Set the behaviours that an instance of a project plays: one per request, the last one repeated.

        A request refused for its token or for the limit does not use one up. A behaviour is a name of `fault_names()`,
        a Response, or a callable that makes a Response from the Request.

        Raises: UnknownBehaviourError (a ValueError) for a name that is in no table, ValueError for no behaviour at all.
        """
        if not behaviours:
            raise ValueError(f"instance {instance_id!r} needs at least one behaviour to play")
        self._scripts[instance_id] = Script(
            behaviour_named(behaviour) if isinstance(behaviour, str) else behaviour for behaviour in behaviours
        )
        self._projects[instance_id] = project_id or self.project_id
        if self.iam is not None and project_id is not None:
            self.iam.other_project_ids.add(project_id)

    @property
    def requests(self) -> list[Request]:
        """The requests seen so far, in order: a copy."""
        with self._seen_lock:
            return list(self._seen)

    def requests_for(self, instance_id: str) -> list[Request]:
        """Return the requests for the task statistics (CountTasks) of this instance, in order."""
        return [request for request in self.requests if request.instance_id == instance_id]

    def monitor_requests_for(self, instance_id: str) -> list[Request]:
        """Return the requests for the tasks of this instance and their logs (`monitors`), in order."""
        paths = [(request, MONITORS_PATH.fullmatch(request.target)) for request in self.requests]
        return [request for request, path in paths if path and unquote(path["instance"]) == instance_id]

    @property
    def instance_list_requests(self) -> list[Request]:
        """The requests for the list of instances (`instances`), in order."""
        return [request for request in self.requests if INSTANCES_PATH.fullmatch(request.target)]

    def remove(self, instance_id: str) -> None:
        """Let an instance play nothing any more: it is unknown, and not in the list of instances."""
        self._scripts.pop(instance_id, None)

    def forget(self) -> None:
        """Clear `requests`."""
        with self._seen_lock:
            self._seen.clear()

    def _decide(self, request: Request) -> Response:
        """Record a request and choose its response. Called in the server's thread only."""
        with self._seen_lock:
            self._seen.append(request)
        return self._choose(request).after(self.latency_seconds)

    def _choose(self, request: Request) -> Response:
        # The order is that of the real thing: the gateway's routes, its tokens, its limits, then the service behind it.
        if self.iam is not None and request.target.partition("?")[0] == IAM_PATH:
            return self.iam.respond(request)
        if request.instance_id is None:
            return self._choose_other(request)
        if request.method != "GET":
            # To HEAD no body may follow.
            body = b"" if request.method == "HEAD" else b"405 Method Not Allowed\n"
            return body_response(body, 405, "text/plain", headers=(("Allow", "GET"),))
        script = self._scripts.get(request.instance_id)
        if script is not None and script.refuses_any_token:
            return script.next_response(request)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        project_id = project_of(request.target) or ""
        if not self._is_project_of(request, project_id):
            return error_response("FDI.3039")
        if script is None or self._projects[request.instance_id] != project_id:
            return error_response("APIC.7302")
        response = script.next_response(request)
        if response.statistics and request.token in self.restricted_tokens:
            return statistics_response(NO_TASKS, wait_seconds=response.steps[0][0])
        return response

    def _is_project_of(self, request: Request, project_id: str) -> bool:
        """Whether there is such a project, and the token, if IAM gave it, was asked for it."""
        if self.iam is not None and self.iam.issued_for.get(request.token or "", project_id) != project_id:
            return False
        return project_id == self.project_id or project_id in self._projects.values()

    def _choose_other(self, request: Request) -> Response:
        """Choose the response to a request that is not about an instance's task statistics."""
        target = request.target
        instance, secret = INSTANCE_PATH.fullmatch(target), CSMS_PATH.fullmatch(target)
        monitor, listing = MONITORS_PATH.fullmatch(target), INSTANCES_PATH.fullmatch(target)
        if not (instance or secret or monitor or listing):
            return error_response("APIG.0101")
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if secret:
            return self.csms.respond(secret["name"], secret["version"])
        if instance:
            return self._choose_instance_statistics(request, instance[1], instance[2])
        project_id = unquote((listing or monitor or {"project": ""})["project"])
        if not self._is_project_of(request, project_id):
            return error_response("FDI.3039")
        of_project = {found: script for found, script in self._scripts.items() if self._projects[found] == project_id}
        if monitor is None:
            return self.instances.respond(request, tuple(of_project))
        script = of_project.get(unquote(monitor["instance"]))
        restricted = request.token in self.restricted_tokens
        return self.monitors.respond(request, monitor, script, restricted=restricted)

    def _choose_instance_statistics(self, request: Request, project_id: str, instance_id: str) -> Response:
        response = self.instance_statistics.get(instance_id, self._scripts.get(instance_id))
        in_project = self._projects.get(instance_id, self.project_id) == project_id
        if response is None or not in_project or not self._is_project_of(request, project_id):
            return error_response("ROMA.00110002")
        return response if isinstance(response, Response) else instance_statistics_response(response.last_document)
