"""Problem details for HTTP APIs (RFC 9457): what was wrong with a request, or with our settings."""

from __future__ import annotations

from marshmallow import Schema, fields, post_dump


class FaultSchema(Schema):
    """One thing wrong with one setting; never its value."""

    variable = fields.String(required=True)
    entry = fields.Integer(required=True, allow_none=True)
    message = fields.String(required=True)


class ProblemSchema(Schema):
    """A problem: `code` is for programs, `detail` for people."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True)
    detail = fields.String(required=True)
    faults = fields.List(fields.Nested(FaultSchema))

    @post_dump
    def _without_empty_faults(self, document: dict[str, object], **_: object) -> dict[str, object]:
        if not document.get("faults"):
            document.pop("faults", None)
        return document


class ReadinessSchema(Schema):
    """The answer of /ready; `faults` is empty exactly when `ready` is true."""

    ready = fields.Boolean(required=True)
    faults = fields.List(fields.Nested(FaultSchema), required=True)
