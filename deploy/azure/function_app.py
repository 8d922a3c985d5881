"""The function app for Azure Functions, at the root of the zip that `deploy/build.py azure` makes."""

import os

import azure.functions as func

import main
from fdi_health import log
from handlers.triggers import azure_functions

log.to_root_logger()

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)  # callers have keys of ours: FDI_CALLERS


@app.function_name("health")
@app.route(route="{*path}", trigger_arg_name="request", methods=azure_functions.METHODS)
def health(request: func.HttpRequest) -> func.HttpResponse:
    """Answer a request."""
    return azure_functions.respond_to_request(request, main.application)


def scheduled(timer: func.TimerRequest) -> None:  # noqa: ARG001 -- the platform passes it by this name
    """Check on a schedule. The log has the verdict."""
    azure_functions.respond_to_timer(main.application)


if os.environ.get("HEALTH_SCHEDULE"):
    app.timer_trigger(arg_name="timer", schedule="%HEALTH_SCHEDULE%")(scheduled)
