"""`huaweicsms://NAME?region=R`: a secret in Huawei Cloud's Cloud Secret Management Service (CSMS).

The request is signed with an access key of the environment, in the variables of the vendor's SDK, or authorized by the
agency of the FunctionGraph function. HUAWEICLOUD_SDK_REGION_CSMS_<REGION>, a variable of the SDK too, replaces the
endpoint.
Source: the vendor's API reference of Data Encryption Workshop, "Querying the Version and Value of a Secret", and its
error codes.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from fdi_health.clock import Instant, now
from fdi_health.credentials.signer import AccessKey, sign
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error
from fdi_health.secret_stores.huawei.agency import call_context
from fdi_health.transport.client import Transport
from fdi_health.transport.retry import Retries, retry_after
from schemas import strict_json
from schemas.settings_fields import INSTANCE_ID, REGION, is_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl
    from fdi_health.transport.client import Response

KEY_VARIABLES = ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN")
_PROJECT_VARIABLES = ("FDI_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID")

_NAME = re.compile("[a-zA-Z0-9_-]{1,64}", re.ASCII)
_FORM = (
    "must be huaweicsms:// and the secret's name, with ?region= if FDI_REGION does not name its region and "
    "&project_id= if FDI_PROJECT_ID does not name its project, e.g. huaweicsms://roma-key?region=cn-north-4"
)

_MAX_BODY_BYTES = 512 * 1024
_HOLD_SECONDS = 300.0
"""How long refused credentials are not sent again: more than five refused requests lock an access key."""

_MISSING = ("does not exist", "Create it, or correct its name, region and project in the secret URL.")
_PENDING = ("is not in a state to be read", "Cancel its deletion, or name another secret in the secret URL.")
_FORBIDDEN = (
    "may not be read by this function",
    "Allow csms:secretVersion:get on this secret, and kms:dek:decrypt on the key that encrypts it.",
)
_REFUSED = (
    "could not be read: Huawei Cloud refuses this function's credentials",
    f"Check {KEY_VARIABLES[0]} and {KEY_VARIABLES[1]}, or the agency of the function.",
)
_WRONG_CLOCK = (
    "could not be read: this machine's clock is wrong, so Huawei Cloud refuses its signatures",
    "Set this machine's clock, e.g. by NTP, then try again. A temporary key may also have expired.",
)
_THROTTLED = ("could not be read: CSMS is rate limiting", "Run fewer processes, or raise the quota.")
_FAILED = ("could not be read: CSMS failed", "Try again. If it fails again, look at the vendor's status page.")
_FOREIGN = (
    "could not be read: another server answered in place of CSMS",
    "Check the region in the secret URL, and proxy variables.",
)
_NO_CREDENTIALS = (
    "could not be read: there are no credentials for CSMS",
    f"Set {KEY_VARIABLES[0]} and {KEY_VARIABLES[1]}, or give the FunctionGraph function an agency.",
)
_BY_TRANSPORT_CODE = {
    "timeout": ("could not be read before the deadline", "Check the network path to CSMS, then try again."),
    "tls_error": (
        "could not be read: the TLS connection to CSMS is not trusted",
        "Check the CA bundle variables and any proxy that intercepts TLS.",
    ),
    "blocked": ("could not be read: the proxy refused the request", "Check HTTPS_PROXY, or exempt CSMS with NO_PROXY."),
    "throttled": _THROTTLED,
    "upstream_error": _FAILED,
    "invalid_response": _FOREIGN,
}
_UNREACHABLE = ("could not be read: CSMS is unreachable", "Check the region in the secret URL and the network path.")
_BY_CODE = {
    **dict.fromkeys(("CSMS.0005", "CSMS.0106"), _MISSING),
    **dict.fromkeys(("CSMS.0103", "CSMS.0107"), _PENDING),
}
_BY_STATUS = {401: _REFUSED, 403: _FORBIDDEN, 404: _MISSING}


class _Refusal(NamedTuple):
    credentials: AccessKey | str
    at: Instant
    error: CheckError


@dataclass(slots=True)
class CsmsSecret:
    """One secret, in its latest version.

    Attributes:
        name, region, project_id: of the secret; the last two are None if the environment says them.
        environ: the process's environment.

    """

    name: str
    region: str | None
    project_id: str | None
    environ: Mapping[str, str] = field(repr=False)
    _refusal: _Refusal | None = field(default=None, repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the secret's string or binary; see `SecretStore.read`."""
        region = self.region or self.environ.get("FDI_REGION")
        project_id = self.project_id or next(filter(None, map(self.environ.get, _PROJECT_VARIABLES)), None)
        if not region or not project_id:
            missing, parameter = ("project", "project_id") if region else ("region", "region")
            raise build_error(
                f"could not be read: its {missing} is not known", f"Add {parameter}= to the query of the secret URL."
            )
        credentials = self._credentials()
        refusal = self._refusal
        if (
            refusal is not None
            and refusal.credentials == credentials
            and refusal.at.seconds_until(now()) < _HOLD_SECONDS
        ):
            raise refusal.error.copy()
        transport = Transport.open(self._endpoint(region), self.environ, 1)
        path = f"/v1/{project_id}/secrets/{self.name}/versions/latest"

        def attempt() -> Response:
            headers = {"Accept": "application/json", "User-Agent": "fdi-health"}
            if isinstance(credentials, AccessKey):
                signed = {"Host": transport.host, "X-Project-Id": project_id}
                headers |= signed | sign(credentials, "GET", path, (), signed, b"", time.time())
            else:
                headers["X-Auth-Token"] = credentials
            response = transport.get(path, headers, deadline, max_body_bytes=_MAX_BODY_BYTES)
            if response.status == 429 or response.status >= 500:
                raise CheckError(
                    "throttled" if response.status == 429 else "upstream_error",
                    "CSMS failed",
                    upstream_status=response.status,
                    retry_after=retry_after(response.headers, time.time()),
                )
            return response

        try:
            response = Retries("CSMS").run(attempt, deadline)
        except CheckError as error:
            raise build_error(*_BY_TRANSPORT_CODE.get(error.code, _UNREACHABLE)) from None
        finally:
            transport.close()
        if response.status != 200:
            mapped = _map_error(response)
            if response.status == 401:
                self._refusal = _Refusal(credentials, now(), mapped)
            raise mapped
        return _parse(response)

    def _endpoint(self, region: str) -> str:
        variable = f"HUAWEICLOUD_SDK_REGION_CSMS_{region.replace('-', '_').upper()}"
        endpoint = self.environ.get(variable, "").partition(",")[0].strip().removesuffix("/")
        if endpoint and not is_endpoint(endpoint):
            raise build_error(
                f"could not be read: {variable} is not a URL that begins with https://",
                "Unset it, or set it to the endpoint of CSMS.",
            )
        return endpoint or f"https://kms.{region}.myhuaweicloud.com"

    def _credentials(self) -> AccessKey | str:
        """Return an access key, or the token of the agency."""
        access_key, secret_key, security_token = (self.environ.get(name, "").strip() for name in KEY_VARIABLES)
        if access_key and secret_key:
            return AccessKey(access_key, secret_key, security_token or None)
        if access_key or secret_key:
            missing = KEY_VARIABLES[1 if access_key else 0]
            raise build_error(f"could not be read: {missing} is not set", f"Set {missing} too.")
        token = call_context("getToken")
        if token:
            return token
        key = [call_context(f"getSecurity{name}") for name in ("AccessKey", "SecretKey", "Token")]
        access_key, secret_key, security_token = (part or "" for part in key)
        if not (access_key and secret_key and security_token):
            raise build_error(*_NO_CREDENTIALS)
        return AccessKey(access_key, secret_key, security_token)


def _map_error(response: Response) -> CheckError:
    try:
        document = strict_json.loads(response.body)
    except strict_json.InvalidJSON:
        document = None
    inner = document.get("error") if isinstance(document, dict) else None
    members = inner if isinstance(inner, dict) else document
    if not isinstance(members, dict) or "error_code" not in members:
        return build_error(*_FOREIGN)
    if response.status == 401 and "signature expired" in str(members.get("error_msg")):
        return build_error(*_WRONG_CLOCK)
    default = _BY_STATUS.get(response.status, ("could not be read: CSMS refused the request", "Check the secret URL."))
    return build_error(*_BY_CODE.get(str(members["error_code"]), default))


def _parse(response: Response) -> Secret:
    try:
        document: Any = strict_json.loads(response.body if response.complete else b"")
        version = document["version"]
        text, binary = version.get("secret_string"), version.get("secret_binary")
        version_id = version.get("version_metadata", {}).get("id")
    except (strict_json.InvalidJSON, KeyError, TypeError, AttributeError):
        raise build_error(*_FOREIGN) from None
    name = version_id if isinstance(version_id, str) else None
    if isinstance(text, str):
        return Secret(text.encode("utf-8", "surrogatepass"), name)
    try:
        return Secret(base64.b64decode(binary, validate=True), name)
    except (binascii.Error, TypeError, ValueError):
        raise build_error("contains neither a string nor a binary", "Store the access key in it.") from None


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> CsmsSecret:
    """Return the secret that the URL names; raises InvalidSecretUrl."""
    pairs = parse_qsl(url.query, keep_blank_values=True)
    query = dict(pairs)
    if (
        not _NAME.fullmatch(url.place)
        or (url.query and not pairs)
        or len(pairs) != len(query)
        or not query.keys() <= {"region", "project_id"}
        or not REGION.fullmatch(query.get("region", "cn-north-4"))
        or not INSTANCE_ID.fullmatch(query.get("project_id", "p"))
    ):
        raise InvalidSecretUrl(_FORM)
    return CsmsSecret(url.place, query.get("region"), query.get("project_id"), environ)
