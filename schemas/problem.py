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


class TokenSchema(Schema):
    """What is told of a token; never its value.

    `source` is the scheme of the secret's URL; `kind`, `version` and `expires_at` are null where no token is held.
    """

    source = fields.String(required=True)
    kind = fields.String(required=True, allow_none=True)
    version = fields.String(required=True, allow_none=True)
    expires_at = fields.String(required=True, allow_none=True)


class ReadyTargetSchema(Schema):
    """The token of one of several targets."""

    name = fields.String(required=True)
    token = fields.Nested(TokenSchema, required=True)


class ConfigStateSchema(Schema):
    """The document of FDI_CONFIG in use; `error` says why a newer version is not."""

    version = fields.String(required=True, allow_none=True)
    loaded_at = fields.String(required=True)
    error = fields.String(required=True, allow_none=True)


class ReadinessSchema(Schema):
    """The response of /ready.

    `ready` turns true once and stays true, so that faults may be listed beside it. Callers who may not see details get
    `ready` and `faults_count` alone.
    """

    ready = fields.Boolean(required=True)
    faults_count = fields.Integer(required=True)
    faults = fields.List(fields.Nested(FaultSchema))
    token = fields.Nested(TokenSchema)
    targets = fields.List(fields.Nested(ReadyTargetSchema))
    config = fields.Nested(ConfigStateSchema, allow_none=True)
    version = fields.String()
