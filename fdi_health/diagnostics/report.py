"""A report for a bug report: what the responses look like, without anything that they say.

It holds versions, names of settings, timings, HTTP statuses, names of headers, error codes, and the shapes of JSON
documents with types in place of values. So somebody with an account can tell what the vendor's pages leave open, such
as which members a document has, without telling anything of the account.
"""

from __future__ import annotations

import os
import platform
import re
import ssl
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from fdi_health import __version__
from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.roma import client, instance_statistics, instances, monitors
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from fdi_health.diagnostics.step import Step
    from fdi_health.models import Instance
    from fdi_health.service import Service
    from fdi_health.service.target import Target

CONTENTS = (
    "versions, names of settings, timings, HTTP statuses, names of headers, error codes and the shapes of JSON "
    "documents. It contains no secret, no value of a setting, no ID and no name of yours."
)

MAX_BODY_BYTES = 256 * 1024
_MAX_DEPTH = 8
_MAX_MEMBERS = 60
_PACKAGES = ("certifi", "click", "marshmallow", "requests", "urllib3", "werkzeug", "functions-framework", "granian")
_PLATFORMS = {
    # A variable that a platform sets → the platform.
    "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
    "RUNTIME_PROJECT_ID": "FunctionGraph",
    "K_SERVICE": "Cloud Run or Knative",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
}
_FIELD = re.compile(r"[a-z][a-z_]{1,40}", re.ASCII)
"""The form of the vendor's names of members. Another name may be an ID or a name of the user's."""

_CODE = re.compile(r"[A-Z]{2,10}\.[0-9A-Z]{1,12}", re.ASCII)
_STEP = re.compile(r"(?:.*: )?(instance|tasks of) .*", re.DOTALL)
_OTHER_MEMBER = "(a name of another form)"


class _Question(NamedTuple):
    """A request; its response is described.

    Attributes:
        title: which operation of the API.
        path: below the endpoint.
        query: names and values.

    """

    title: str
    path: str
    query: Sequence[tuple[str, str]] = ()


def lines(environ: Mapping[str, str], steps: Sequence[Step], service: Service | None) -> Iterator[str]:
    """Yield the report in Markdown.

    Args:
        environ: the process's environment; only names of it are shown.
        steps: those of `doctor`.
        service: asks ROMA Connect; None not to ask.

    Limits: a request that is refused is the last one, so that no access key is locked.

    """
    yield "# fdi-health report"
    yield ""
    yield f"This report contains {CONTENTS}"
    yield ""
    where = [name for variable, name in _PLATFORMS.items() if environ.get(variable)] or ["no known platform"]
    yield f"- fdi-health {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield f"- {ssl.OPENSSL_VERSION}; {', '.join(_versions())}"
    yield f"- Platform: {', '.join(where)}"
    yield f"- Settings: {', '.join(sorted(name for name in environ if _is_ours(name))) or 'none'}"
    yield ""
    yield "| Step | Result | Seconds |"
    yield "|---|---|---|"
    for step in steps:
        yield f"| {_step_name(step.name)} | {step.status} | {step.seconds:.3f} |"
    if service is None:
        yield ""
        yield "ROMA Connect was not asked: a step before it failed, or was not wanted."
        return
    for number, target in enumerate(service.targets, 1):
        was_refused = yield from _target_lines(number, target, Deadline.after(service.deadline_seconds))
        if was_refused:
            yield ""
            yield "Nothing more is asked, because a request was refused."
            return


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def _is_ours(name: str) -> bool:
    return name.startswith("FDI_") and name.replace("_", "").isalpha() and len(name) < 40


def _step_name(name: str) -> str:
    """Return the name of a step without the names of targets and instances."""
    match = _STEP.fullmatch(name)
    kind = match[1] if match else name.rpartition(": ")[2]
    return f"{kind} (an instance)" if match else kind


def _target_lines(number: int, target: Target, deadline: Deadline) -> Generator[str, None, bool]:
    """Yield the part about a target; return whether a request was refused."""
    yield ""
    yield f"## Target {number}"
    listed = target.listed(deadline).instances
    yield ""
    yield f"Instances: {len(listed)}. The first one is asked."
    for question in _questions(target, listed):
        yield ""
        yield f"### {question.title}"
        yield ""
        status = yield from _answer(target, listed[0] if listed else None, question, deadline)
        if status in (401, 403):
            return True
    return False


def _questions(target: Target, listed: Sequence[Instance]) -> list[_Question]:
    api = target.api
    found = [_Question("ListInstances (the project's instances)", instances.list_path(api))]
    for instance in listed[:1]:
        found += [
            _Question("CountTasks (task statistics)", client.statistics_path(api, instance)),
            _Question("the instance's own statistics", instance_statistics.instance_path(api, instance)),
            _Question("ListMonitorInfos (failed tasks)", monitors.list_path(api, instance), monitors.FAILED_TASKS),
        ]
    return found


def _answer(
    target: Target, instance: Instance | None, question: _Question, deadline: Deadline
) -> Generator[str, None, int | None]:
    """Describe the response to one request, or why there is none; return its status."""
    began = time.monotonic()
    try:
        authenticator = target.tokens.current(deadline)
        with authenticator.permit(instance.instance_id if instance else "*", deadline, "list"):
            path = f"{target.transport.path_prefix}{question.path}"
            project = target.settings.project_id
            headers = authenticator.headers(target.transport.host, path, question.query, project, time.time())
            response = target.transport.get(
                f"{question.path}?{urlencode(question.query)}" if question.query else question.path,
                {**headers, "Accept": "application/json", "User-Agent": "fdi-health"},
                deadline,
                compare=False,
                max_body_bytes=MAX_BODY_BYTES,
            )
    except CheckError as error:
        yield f"No response: `{error.code}`."
        return None
    seconds = time.monotonic() - began
    yield f"- HTTP {response.status}, {len(response.body)} bytes, {seconds:.3f} s"
    yield f"- Headers: {', '.join(sorted({_header(name) for name in response.headers}))}"
    try:
        document = strict_json.loads(response.body)
    except strict_json.InvalidJSON:
        yield "- The body is not JSON."
        return response.status
    code = document.get("error_code") if isinstance(document, dict) else None
    if isinstance(code, str):
        yield f"- Error code: {code if _CODE.fullmatch(code) else 'of another form'}"
    yield ""
    yield "```"
    yield from _shape(document)
    yield "```"
    return response.status


def _header(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z-]{1,40}", name) else _OTHER_MEMBER


def _shape(value: Any, indent: str = "", name: str = "") -> Iterator[str]:
    """Yield the shape of a JSON value, a line for each member: types in place of values."""
    prefix = f"{indent}{name}: " if name else indent
    deeper = f"{indent}  "
    if len(indent) > 2 * _MAX_DEPTH:
        yield f"{prefix}…"
    elif isinstance(value, dict):
        yield f"{prefix}object"
        for member, inner in list(value.items())[:_MAX_MEMBERS]:
            yield from _shape(inner, deeper, member if _FIELD.fullmatch(member) else _OTHER_MEMBER)
    elif isinstance(value, list):
        yield f"{prefix}array of {len(value)}"
        for inner in value[:1]:
            yield from _shape(inner, deeper)
    else:
        yield f"{prefix}{_type(value)}"


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "empty string" if not value else "string"
    if value is None:
        return "null"
    return "integer" if isinstance(value, int) else "number"


def write(path: str, text: str) -> None:
    """Write a report to a new file that only its owner may read.

    Raises:
        OSError: the file exists, or cannot be written.

    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
