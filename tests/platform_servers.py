"""Sends requests to a server over a real connection, with exactly the bytes of the question."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.conformance.platform import Answer

if TYPE_CHECKING:
    from tests.conformance.platform import EntryPoint, Question


def over_http(url: str) -> EntryPoint:
    """Return the entry point of a server."""

    def ask(question: Question) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        try:
            connection.putrequest(question.method, question.target, skip_accept_encoding=True)
            for name, value in question.headers.items():
                connection.putheader(name, value)
            if question.body or question.method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(question.body)))
            connection.endheaders(question.body or None)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    return ask
