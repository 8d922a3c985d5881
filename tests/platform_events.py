"""The events that platforms make of a request: what a gateway sends, and what a client gets of the reply."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from tests.conformance.platform import Answer

if TYPE_CHECKING:
    from tests.conformance.platform import Question


class LambdaContext:
    """Lambda's context, with some milliseconds left."""

    def __init__(self, milliseconds: object = 10_000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> object:
        return self.milliseconds


def body_fields(question: Question, *, always_base64: bool = False, empty: str | None = None) -> dict[str, Any]:
    """Return body and flag: text as it is, everything else in Base64."""
    if not question.body:
        return {"body": empty, "isBase64Encoded": always_base64}
    textual = question.headers.get("Content-Type", "").startswith(("application/json", "text/"))
    if textual and not always_base64:
        try:
            return {"body": question.body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(question.body).decode(), "isBase64Encoded": True}


def parameters(question: Question) -> dict[str, list[str]]:
    """Return the query as a gateway decodes it."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(question.query, keep_blank_values=True, errors="replace"):
        found.setdefault(name, []).append(value)
    return found


def rest_api(question: Question) -> dict[str, Any]:
    """Return the event of a REST API (payload format 1.0)."""
    query = parameters(question)
    return {
        "resource": "/{proxy+}",
        "path": question.path,
        "httpMethod": question.method,
        "headers": question.headers or None,
        "multiValueHeaders": {name: [value] for name, value in question.headers.items()} or None,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"stage": "prod", "httpMethod": question.method, "path": f"/prod{question.path}"},
        **body_fields(question),
    }


def lattice(question: Question) -> dict[str, Any]:
    """Return the event of VPC Lattice, version 1: path and query as they were sent."""
    fields = body_fields(question)
    return {
        "raw_path": question.target,
        "method": question.method,
        "headers": {name.lower(): value for name, value in question.headers.items()},
        "query_string_parameters": {name: values[-1] for name, values in parameters(question).items()},
        "body": fields["body"],
        "is_base64_encoded": fields["isBase64Encoded"],
    }


def lattice_2(question: Question) -> dict[str, Any]:
    """Return the event of VPC Lattice, version 2: lists of values."""
    return {
        "version": "2.0",
        "path": question.path,
        "method": question.method,
        "headers": {name.lower(): [value] for name, value in question.headers.items()},
        "queryStringParameters": parameters(question),
        "requestContext": {"serviceNetworkArn": "arn:aws:vpc-lattice:eu-west-1:123456789012:servicenetwork/sn-0"},
        **body_fields(question),
    }


def http_api(question: Question, stage: str = "$default") -> dict[str, Any]:
    """Return the event of an HTTP API (payload format 2.0). Its path begins with the stage if that has a name."""
    path = question.path if stage == "$default" else f"/{stage}{question.path}"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": question.query,
        # The service lower-cases the names.
        "headers": {name.lower(): value for name, value in question.headers.items()},
        "queryStringParameters": {name: ",".join(values) for name, values in parameters(question).items()},
        "requestContext": {
            "stage": stage,
            "http": {"method": question.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
        },
        **body_fields(question, empty=""),
    }


def function_url(question: Question) -> dict[str, Any]:
    """Return the event of a function URL, which leaves out what is empty."""
    event = http_api(question)
    if not question.body:
        del event["body"]
    if not question.query:
        del event["queryStringParameters"]
    return event


def balancer(question: Question) -> dict[str, Any]:
    """Return the event of an application load balancer, which decodes nothing."""
    raw = [pair.partition("=")[::2] for pair in question.query.split("&") if pair]
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "httpMethod": question.method,
        "path": question.path,
        # Of a repeated parameter the last one only.
        "queryStringParameters": dict(raw),
        "headers": {name.lower(): value for name, value in question.headers.items()},
        **body_fields(question, empty=""),
    }


def balancer_multi_value(question: Question) -> dict[str, Any]:
    """Return the same in multi-value mode."""
    event = balancer(question)
    del event["headers"], event["queryStringParameters"]
    event["multiValueHeaders"] = {name.lower(): [value] for name, value in question.headers.items()}
    query: dict[str, list[str]] = {}
    for name, _, value in (pair.partition("=") for pair in question.query.split("&") if pair):
        query.setdefault(name, []).append(value)
    event["multiValueQueryStringParameters"] = query
    return event


def functiongraph(question: Question) -> dict[str, Any]:
    """Return the event of FunctionGraph's APIG trigger. Its bodies are always in Base64, the empty one included."""
    return {
        "httpMethod": question.method,
        "path": unquote(question.path, errors="surrogateescape") if question.path.isascii() else question.path,
        "headers": {name.lower(): value for name, value in question.headers.items()},
        "queryStringParameters": {
            name: values if len(values) > 1 else values[0] for name, values in parameters(question).items()
        },
        "pathParameters": {},
        "requestContext": {"apiId": "a", "requestId": "r", "stage": "RELEASE", "sourceIp": "192.0.2.1"},
        **body_fields(question, always_base64=True, empty=""),
    }


def answer_of(reply: dict[str, Any]) -> Answer:
    """Return what a client gets of a reply, insisting on the form that gateways insist on (C74)."""
    assert type(reply["statusCode"]) is int
    assert type(reply["isBase64Encoded"]) is bool
    assert type(reply["body"]) is str
    if "multiValueHeaders" in reply:
        assert "headers" not in reply
        assert all(type(value) is str for values in reply["multiValueHeaders"].values() for value in values)
        headers = {name.lower(): ",".join(values) for name, values in reply["multiValueHeaders"].items()}
    else:
        assert all(type(value) is str for value in reply["headers"].values())
        headers = {name.lower(): value for name, value in reply["headers"].items()}
    body = base64.b64decode(reply["body"]) if reply["isBase64Encoded"] else reply["body"].encode()
    return Answer(reply["statusCode"], headers, body)
