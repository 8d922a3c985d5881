"""Plays the host of Azure Functions to azure-functions-runtime, in a process that has Python 3.13 and the app alone.

`python azure_host.py FOLDER` loads the app in FOLDER, sends it the requests on standard input (a list of objects with
method, url, headers and body) and prints the responses. The host's messages are plain objects here, with the fields
that the runtime reads.
"""

import asyncio
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any


class Message:
    """A message with any fields; the runtime asks which one of some is set."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802 -- protobuf's name
        return next(iter(vars(self)), None)


class BindingInfo(Message):
    """What the app says of one parameter; the directions and the default type are the protocol's numbers."""

    out, inout, undefined = 1, 2, None


class Result(Message):
    """How a call went."""

    Success, Failure = "success", "failure"


PROTOCOL = SimpleNamespace(
    BindingInfo=BindingInfo,
    StatusResult=Result,
    **dict.fromkeys(
        ("WorkerInitResponse", "WorkerMetadata", "RpcFunctionMetadata", "InvocationResponse", "TypedData", "RpcHttp"),
        Message,
    ),
    RpcException=Message,
)


def http(request: dict[str, Any]) -> Message:
    """Return a request as the host sends it."""
    body = Message(bytes=request["body"].encode("latin-1"))
    fields = {name: request[name] for name in ("method", "url", "headers")}
    return Message(http=SimpleNamespace(**fields, body=body, params={}, query={}))


def invocation(function_id: str, name: str, data: Message) -> SimpleNamespace:
    """Return the message that calls a function."""
    call = SimpleNamespace(
        invocation_id="1",
        function_id=function_id,
        input_data=[SimpleNamespace(name=name, data=data, WhichOneof=lambda _: "data")],
        trigger_metadata={},
        trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
        retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
    )
    return SimpleNamespace(request=SimpleNamespace(invocation_request=call))


async def main(folder: str) -> list[dict[str, Any]]:
    """Load the app and call it."""
    from azure_functions_runtime import functions_metadata_request, invocation_request, worker_init_request

    sys.path.insert(0, folder)
    init = SimpleNamespace(capabilities={}, function_app_directory=folder)
    request = SimpleNamespace(worker_init_request=init)
    message = SimpleNamespace(request=request, properties={"host": "127.0.0.1", "protos": PROTOCOL})
    loaded = await worker_init_request(message)
    assert loaded.result.status == Result.Success, vars(loaded.result.exception)
    PROTOCOL.FunctionMetadataResponse = Message
    (function,) = (await functions_metadata_request(message)).function_metadata_results
    responses = []
    for asked in json.load(sys.stdin):
        done = await invocation_request(invocation(function.function_id, "request", http(asked)))
        assert done.result.status == Result.Success, vars(done.result.exception)
        answer = done.return_value.http
        body = answer.body.bytes.decode()
        responses.append({"status": int(answer.status_code), "headers": answer.headers, "body": body})
    return responses


class Lines(logging.Handler):
    """What the platform keeps of the log: severity and message."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line of ours to stderr."""
        if record.name == "fdi_health":
            sys.stderr.write(f"{record.levelname} {record.getMessage()}\n")


if __name__ == "__main__":
    logging.getLogger().addHandler(Lines())
    json.dump(asyncio.run(main(sys.argv[1])), sys.stdout)
