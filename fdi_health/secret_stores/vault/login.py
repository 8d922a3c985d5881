"""How this function logs in to Vault: with a token, as an AppRole, or with its Kubernetes service account.

The environment decides: the first of VAULT_TOKEN, VAULT_TOKEN_FILE, VAULT_ROLE_ID (or …_FILE) and VAULT_K8S_ROLE that
is set. BAO_… instead of VAULT_… works too. A file is read again for every login, because agents replace it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.secret_stores import build_error
from fdi_health.secret_stores.file import File
from fdi_health.secret_stores.vault.responses import rule
from schemas.settings_fields import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores.vault.key_value import VaultAdapter
    from fdi_health.secret_stores.vault.responses import Explanation

SERVICE_ACCOUNT_TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 -- the path of a file, no secret
"""Where Kubernetes mounts the token of a pod's service account."""

_MOUNT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*", re.ASCII)

_PREFIXES = ("BAO_", "VAULT_")
"""As in OpenBao's client: its own variables win, and Vault's are used as well."""

_ADDRESS_EXAMPLE = "https://vault.example.com:8200"
_HEADER_VALUE = re.compile(r"[!-~]{1,16384}", re.ASCII)

_NO_LOGIN: Explanation = (
    "could not be read: no Vault credentials were found",
    "Set VAULT_TOKEN, VAULT_TOKEN_FILE, VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_K8S_ROLE.",
)
_NO_SECRET_ID: Explanation = (
    "could not be read: the Vault credentials have a role ID and no secret ID",
    "Set VAULT_SECRET_ID or VAULT_SECRET_ID_FILE.",
)
_APPROLE_REFUSED: Explanation = (
    (
        "could not be read: Vault refuses the credentials of the AppRole: the role ID is wrong, or the secret ID is "
        "wrong, expired or used up"
    ),
    (
        "Compare VAULT_ROLE_ID with `vault read auth/approle/role/ROLE/role-id`, or create a new secret ID: vault "
        "write -f auth/approle/role/ROLE/secret-id. Its role needs secret_id_num_uses=0, since every "
        "read logs in. Also check VAULT_NAMESPACE."
    ),
)
_NO_APPROLE_MOUNT: Explanation = (
    "could not be read: Vault does not allow a login with these credentials: it has no AppRole login at this mount",
    "Enable it (vault auth enable approle), or correct VAULT_APPROLE_MOUNT and VAULT_NAMESPACE.",
)
_KUBERNETES_REFUSED: Explanation = (
    "could not be read: Vault refuses the credentials of this pod's service account",
    (
        "Check the role's bound_service_account_names, bound_service_account_namespaces and audience, that Vault may "
        "use the TokenReview API (system:auth-delegator), and VAULT_K8S_MOUNT and VAULT_NAMESPACE."
    ),
)
_KUBERNETES_EXPIRED: Explanation = (
    "could not be read: Vault refuses the credentials of this pod's service account: its token has expired",
    "Mount a projected token, which Kubernetes renews, and check the clocks of Vault and of the cluster.",
)
_NO_KUBERNETES_ROLE: Explanation = (
    "could not be read: Vault does not know the role of this function's credentials",
    "Correct VAULT_K8S_ROLE, or create the role: vault write auth/kubernetes/role/ROLE.",
)

# For a mount that does not exist, a request without a token gets 403, as if the mount were secret.
_APPROLE_RULES = (
    rule(400, "", _APPROLE_REFUSED),
    rule(403, "permission denied", _NO_APPROLE_MOUNT),
    rule(404, "", _NO_APPROLE_MOUNT),
)
_KUBERNETES_RULES = (
    rule(400, "invalid role name", _NO_KUBERNETES_ROLE),
    rule(403, "token is expired", _KUBERNETES_EXPIRED),
    *(rule(status, "", _KUBERNETES_REFUSED) for status in (400, 403, 404)),
)


def find_setting(environ: Mapping[str, str], name: str) -> str | None:
    """Return the value of BAO_… or VAULT_…; an empty value counts as not set."""
    return next((environ[prefix + name] for prefix in _PREFIXES if environ.get(prefix + name)), None)


def is_header_value(text: str) -> bool:
    """Whether a text can be sent as a Vault token."""
    return _HEADER_VALUE.fullmatch(text) is not None


def find_endpoint(environ: Mapping[str, str]) -> str:
    """Return the address of Vault, without a slash at its end; raises CheckError."""
    address = find_setting(environ, "ADDR")
    if address is None:
        raise build_error(
            "could not be read: the address of Vault is not known", f"Set VAULT_ADDR, e.g. {_ADDRESS_EXAMPLE}."
        )
    try:
        return str(Endpoint(_ADDRESS_EXAMPLE).deserialize(address))
    except ValidationError as error:
        raise build_error(
            "could not be read: the address in VAULT_ADDR is not usable", f"Correct it: it {error.messages[0]}."
        ) from None


def log_in(client: Any, adapter: VaultAdapter, environ: Mapping[str, str], deadline: Deadline) -> None:
    """Give the adapter a Vault token, with at most one request.

    Args:
        client: an hvac client that uses the adapter.
        adapter: sends the request.
        environ: the process's environment.
        deadline: when the login must be done.

    Raises:
        CheckError: `token_unavailable`.

    """
    if (token := _find_value(environ, "TOKEN", deadline)) is not None:
        adapter.token = token
    elif (role_id := _find_value(environ, "ROLE_ID", deadline)) is not None:
        secret_id = _find_value(environ, "SECRET_ID", deadline)
        if secret_id is None:
            raise build_error(*_NO_SECRET_ID)
        mount = _find_mount(environ, "APPROLE_MOUNT", "approle")
        adapter.login_rules = _APPROLE_RULES
        client.auth.approle.login(role_id, secret_id, mount_point=mount)
    elif (role := find_setting(environ, "K8S_ROLE")) is not None:
        file = find_setting(environ, "K8S_TOKEN_FILE")
        jwt = _read_file(file or SERVICE_ACCOUNT_TOKEN_FILE, "VAULT_K8S_TOKEN_FILE" if file else None, deadline)
        mount = _find_mount(environ, "K8S_MOUNT", "kubernetes")
        adapter.login_rules = _KUBERNETES_RULES
        client.auth.kubernetes.login(role, jwt, mount_point=mount)
    else:
        raise build_error(*_NO_LOGIN)


def _find_value(environ: Mapping[str, str], name: str, deadline: Deadline) -> str | None:
    """Return the value of a variable, or the content of the file that its …_FILE variable names, or None."""
    text = find_setting(environ, name)
    if text is None and (path := find_setting(environ, f"{name}_FILE")) is not None:
        return _read_file(path, f"VAULT_{name}_FILE", deadline)
    return None if text is None else _check(text.strip(), f"VAULT_{name}")


def _read_file(path: str, variable: str | None, deadline: Deadline) -> str:
    source = f"the file that {variable} names" if variable else "the service account's token"
    try:
        data = File(path).read(deadline).data
    except CheckError as error:
        problem = "does not exist" if "does not exist" in error.message else "cannot be read"
        raise build_error(
            f"could not be read: {source} {problem}",
            f"Mount the file there for this function's user, or correct {variable}."
            if variable
            else "Mount it (automountServiceAccountToken or a projected volume), or set VAULT_K8S_TOKEN_FILE.",
        ) from None
    return _check(data.decode("ascii", "replace").strip(), source)


def _check(text: str, source: str) -> str:
    """Return a credential that can be sent; the message names its source only."""
    if not is_header_value(text):
        raise build_error(
            f"could not be read: {source} contains no usable Vault credentials",
            "Store the bare value there: printable ASCII without spaces.",
        )
    return text


def _find_mount(environ: Mapping[str, str], name: str, default: str) -> str:
    mount = (find_setting(environ, name) or default).strip("/")
    if not _MOUNT.fullmatch(mount):
        raise build_error(
            f"could not be read: VAULT_{name} is not the path of a mount",
            f"Set VAULT_{name} to the path without auth/, e.g. {default}, or unset it.",
        )
    return mount
