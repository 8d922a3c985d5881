"""What a platform hands a function besides the request, for the store that gets its token from there."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

invocation: ContextVar[Any] = ContextVar("invocation", default=None)
"""The platform's own context object of the invocation that is being answered, or None where there is none.

Threads that work for a request are started in a copy of its caller's context, and so see the same.
"""
