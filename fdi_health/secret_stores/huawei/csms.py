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
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fdi_health.clock import Instant, now
from fdi_health.credentials.signer import AccessKey, sign
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error
from fdi_health.secret_stores.huawei.agency import call_context, find_temporary_key
from fdi_health.secret_stores.huawei.csms_errors import (
    BY_TRANSPORT_CODE,
    FOREIGN,
    KEY_VARIABLES,
    NO_CREDENTIALS,
    UNREACHABLE,
    map_error,
)
from fdi_health.transport.client import Transport
from fdi_health.transport.retry import Retries, retry_after
from schemas import strict_json
from schemas.settings_fields import INSTANCE_ID, REGION, is_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl
    from fdi_health.transport.client import Response

_PROJECT_VARIABLES = ("FDI_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID")

_NAME = re.compile("[a-zA-Z0-9_-]{1,64}", re.ASCII)
_FORM = (
    "must be huaweicsms:// and the secret's name, with ?region= unless FDI_REGION names its region and &project_id= "
    "unless FDI_PROJECT_ID names its project"
)

_MAX_BODY_BYTES = 512 * 1024
_HOLD_SECONDS = 300.0
"""How long refused credentials are not sent again: more than five refused requests lock an access key."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The newest refusal; its repr hides the credentials."""

    credentials: AccessKey | str = field(repr=False)
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
            variable = _PROJECT_VARIABLES[0] if region else "FDI_REGION"
            raise build_error(
                f"could not be read: its {missing} is not known",
                f"Set {variable}, or add ?{parameter}= to the secret URL.",
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
        whole_path = f"{transport.path_prefix}{path}"

        def attempt() -> Response:
            headers = {"Accept": "application/json", "User-Agent": "fdi-health"}
            if isinstance(credentials, AccessKey):
                signed = {"Host": transport.host, "X-Project-Id": project_id}
                headers |= signed | sign(credentials, "GET", whole_path, (), signed, b"", time.time())
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
            raise build_error(*BY_TRANSPORT_CODE.get(error.code, UNREACHABLE)) from None
        finally:
            transport.close()
        if response.status != 200:
            mapped = map_error(response)
            if response.status == 401:
                self._refusal = _Refusal(credentials, now(), mapped)
            raise mapped
        return _parse(response)

    def _endpoint(self, region: str) -> str:
        variable = f"HUAWEICLOUD_SDK_REGION_CSMS_{region.replace('-', '_').upper()}"
        endpoint = self.environ.get(variable, "").partition(",")[0].strip().removesuffix("/")
        if endpoint and not is_endpoint(endpoint):
            raise build_error(
                f"could not be read: {variable} is not a URL that begins with https:// (http:// to loopback only)",
                "Unset it, or set it to the endpoint of CSMS, without a path.",
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
        key = find_temporary_key()
        if key is None:
            raise build_error(*NO_CREDENTIALS)
        return AccessKey(**key)


def _parse(response: Response) -> Secret:
    try:
        document: Any = strict_json.loads(response.body if response.complete else b"")
        version = document["version"]
        text, binary = version.get("secret_string"), version.get("secret_binary")
        version_id = version.get("version_metadata", {}).get("id")
    except (strict_json.InvalidJSON, KeyError, TypeError, AttributeError):
        raise build_error(*FOREIGN) from None
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
    fault = None
    if not _NAME.fullmatch(url.place):
        fault = "the secret's name has 1 to 64 letters, digits, - and _"
    elif (url.query and not pairs) or len(pairs) != len(query) or not query.keys() <= {"region", "project_id"}:
        fault = "the query may have region= and project_id=, each once"
    elif not REGION.fullmatch(query.get("region", "cn-north-4")):
        fault = "the region is not one such as cn-north-4"
    elif not INSTANCE_ID.fullmatch(query.get("project_id", "p")):
        fault = "the project ID has letters, digits, - and _"
    if fault is not None:
        raise InvalidSecretUrl(f"{_FORM}: {fault}, e.g. huaweicsms://roma-key?region=cn-north-4")
    return CsmsSecret(url.place, query.get("region"), query.get("project_id"), environ)
