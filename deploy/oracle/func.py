"""The function for Oracle Functions, at the root of the zip that `deploy/build.py oracle` makes."""

import io
import logging

from fdk.context import InvokeContext
from fdk.response import Response

import main
from fdi_health import log
from handlers.triggers import oracle_functions

logging.getLogger().setLevel(logging.WARNING)  # fdk lets every library write debug lines


def handler(call: InvokeContext, data: io.BytesIO) -> Response:
    """Answer a call."""
    try:
        response = oracle_functions.respond_to_call(call, data.read(), main.application)
    finally:
        log.flush()  # the platform freezes the container between calls
    return Response(call, response.body, response.headers, response.status)
