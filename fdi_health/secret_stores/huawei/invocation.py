"""The platform's context object of the current invocation, from which the agency's token comes."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

invocation: ContextVar[Any] = ContextVar("invocation", default=None)
"""The context object that the platform passes to the function besides the request, or None if there is none.

Threads that read a secret run in a copy of their caller's context, so they see the caller's invocation.
"""
