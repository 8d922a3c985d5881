"""Other ways to ask the same 20 instances: requests in a loop and in threads, django-health-check, libcurl multi."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pycurl
import requests

from benchmarks.upstream import PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEADERS = {"X-Auth-Token": TOKEN}


def address(url: str, name: str) -> str:
    """Return the statistics' URL of one instance."""
    return f"{url}/v2/{PROJECT_ID}/fdi/instances/{name}/statistics/tasks"


def is_healthy(document: Any) -> bool:
    """Return what the plainest reader of an answer would say."""
    return bool(document["common_task_details"]["abnormal_tasks_count"] == 0)


def loop(url: str, names: Sequence[str], ca: str | None = None) -> bool:
    """Ask one after the other with plain requests."""
    return all(
        is_healthy(requests.get(address(url, name), headers=HEADERS, timeout=4, verify=ca or True).json())
        for name in names
    )


def threads(url: str, names: Sequence[str], ca: str | None = None) -> bool:
    """Ask all at once with plain requests, a thread each."""

    def ask(name: str) -> bool:
        return is_healthy(requests.get(address(url, name), headers=HEADERS, timeout=4, verify=ca or True).json())

    with ThreadPoolExecutor(len(names)) as pool:
        return all(pool.map(ask, names))


def libcurl(url: str, names: Sequence[str], ca: str | None = None) -> bool:
    """Ask all at once with libcurl's multi interface: the limit of what can be reached here."""
    multi = pycurl.CurlMulti()
    answers = []
    for name in names:
        easy, body = pycurl.Curl(), io.BytesIO()
        easy.setopt(pycurl.URL, address(url, name))
        easy.setopt(pycurl.HTTPHEADER, [f"{key}: {value}" for key, value in HEADERS.items()])
        easy.setopt(pycurl.WRITEDATA, body)
        easy.setopt(pycurl.TIMEOUT_MS, 4000)
        if ca:
            easy.setopt(pycurl.CAINFO, ca)
        multi.add_handle(easy)
        answers.append((easy, body))
    _, running = multi.perform()
    while running:
        multi.select(1.0)
        _, running = multi.perform()
    healthy = all(is_healthy(json.loads(body.getvalue())) for _, body in answers)
    for easy, _ in answers:
        multi.remove_handle(easy)
        easy.close()
    multi.close()
    return healthy


def django_health_check(url: str, names: Sequence[str]) -> Callable[[], bool]:
    """Return what asks through django-health-check's own view, one check per instance."""
    import django
    from django.conf import settings
    from django.test import RequestFactory

    if not settings.configured:
        settings.configure(  # a key that signs nothing
            INSTALLED_APPS=["health_check"], ALLOWED_HOSTS=["*"], DATABASES={}, SECRET_KEY="x", USE_TZ=True
        )
        django.setup()
    from health_check.base import HealthCheck
    from health_check.exceptions import ServiceUnavailable
    from health_check.views import HealthCheckView

    @dataclasses.dataclass
    class InstanceCheck(HealthCheck):  # type: ignore[misc] # the library ships no types
        name: str

        def run(self) -> None:
            if not is_healthy(requests.get(address(url, self.name), headers=HEADERS, timeout=4).json()):
                raise ServiceUnavailable(self.name)

    view = HealthCheckView.as_view(checks=[(InstanceCheck, {"name": name}) for name in names])
    request = RequestFactory().get("/", {"format": "json"})

    async def ask() -> int:
        response = await view(request)
        status: int = response.status_code
        return status

    return lambda: asyncio.run(ask()) == 200
