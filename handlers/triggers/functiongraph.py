"""Huawei Cloud FunctionGraph, the upstream vendor's own platform: its events to requests, and responses back.

Source: the vendor's FunctionGraph developer guide (APIG and timer triggers, the context of Python functions). The
answer to an APIG trigger holds exactly four keys; with any other the gateway answers 500 by itself.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import InvalidSecretUrl, parse_secret_url
from handlers.application import Application
from handlers.request_context import RequestContext
from handlers.triggers import function_events, non_http_events
from schemas.settings import SettingsSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Handler:
    """The function that FunctionGraph calls; it raises nothing.

    Args:
        environ: the process's environment.

    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._application: Application | None = None

    def __call__(self, event: Any, invocation: Any) -> dict[str, Any]:
        """Answer an APIG trigger's event, or give the anonymous verdict for any other event."""
        application = self.application(invocation)
        seconds_left = non_http_events.seconds_left(getattr(invocation, "getRemainingTimeInMilliSeconds", None))
        context = RequestContext(time.monotonic(), seconds_left=seconds_left, invocation=invocation)
        request = function_events.with_request(context, event) if _is_http_request(event) else None
        if request is None:
            return non_http_events.respond_to_event(context, application, event)
        return function_events.reply(request, application)

    def application(self, context: Any) -> Application:
        """Return the state of this application, made by the first invocation: its context may hold the settings."""
        with self._lock:
            if self._application is None:
                self._application = Application({**_user_data(context, self._environ), **self._environ})
            return self._application


def _user_data(context: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the function's configuration holds and the environment does not.

    Runtimes differ in whether they put the configured variables into the environment too; the context always has them.
    """
    get: Callable[[str], object] = getattr(context, "getUserData", lambda _: None)

    def value(name: str) -> str:
        try:
            found = get(name)
        except Exception:  # noqa: BLE001 -- the platform's own code, for a name it does not know
            return ""
        return found if isinstance(found, str) else ""

    names = [str(field.data_key) for field in SettingsSchema().fields.values()]
    found = {name: text for name in names if name not in environ and (text := value(name))}
    for variable in ("FDI_TOKEN", "FDI_CALLERS"):
        try:
            url = parse_secret_url({**found, **environ}.get(variable, ""))
        except InvalidSecretUrl:
            continue
        if url.scheme == "env" and url.place not in environ and (text := value(url.place)):
            found[url.place] = text
    return found


def _is_http_request(event: Any) -> bool:
    """Whether an event is an APIG trigger's."""
    return isinstance(event, dict) and isinstance(event.get("httpMethod"), str) and isinstance(event.get("path"), str)
