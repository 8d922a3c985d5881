"""The settings and the secret stores that they name, read from the environment with every fault at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from marshmallow import ValidationError

from fdi_health.errors import CheckError, Fault
from fdi_health.secret_stores import InvalidSecretUrl, SecretStore, SecretUrl, open_store, parse_secret_url
from schemas import settings as settings_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.settings import Settings
    from schemas.targets import TargetSettings

_MAX_VARIABLES = 20
"""How many variables the message of an error names."""


class ConfiguredSecret(NamedTuple):
    """A secret that a setting names.

    Attributes:
        url: the setting, taken apart.
        store: reads the secret.

    """

    url: SecretUrl
    store: SecretStore


class Configuration(NamedTuple):
    """What the environment says.

    Attributes:
        settings: the valid settings.
        token: FDI_TOKEN: the secret with the token or the credentials; of no use beside FDI_CONFIG.
        callers: FDI_CALLERS: the secret with the callers' keys, or None.
        config: FDI_CONFIG: the secret with the document that describes the targets, or None.

    """

    settings: Settings
    token: ConfiguredSecret
    callers: ConfiguredSecret | None
    config: ConfiguredSecret | None


def read_configuration(environ: Mapping[str, str], present: float) -> Configuration:
    """Return what the environment says; reads no secret and connects to nothing.

    Args:
        environ: the process's environment.
        present: the time now, in seconds since the epoch.

    Raises:
        CheckError: `settings_invalid`, with every fault there is.

    """
    faults: list[Fault] = []
    secrets: dict[str, ConfiguredSecret] = {}
    for variable in ("FDI_TOKEN", "FDI_CALLERS", "FDI_CONFIG"):
        # Not from the loaded settings: a fault here is reported together with theirs.
        text = environ.get(variable, "").strip()
        try:
            if text:
                url = parse_secret_url(text)
                secrets[variable] = ConfiguredSecret(url, open_store(url, environ))
        except InvalidSecretUrl as error:
            faults.append(Fault(variable, str(error)))
    try:
        settings = settings_schema.load(environ, present)
    except ValidationError as error:
        faults += [Fault(variable, message, entry) for variable, entry, message in settings_schema.faults(error)]
    if faults:
        raise _settings_invalid(faults)
    config = secrets.get("FDI_CONFIG")
    return Configuration(
        settings, secrets["FDI_TOKEN"] if config is None else config, secrets.get("FDI_CALLERS"), config
    )


def read_document(
    data: bytes, environ: Mapping[str, str], present: float
) -> tuple[tuple[TargetSettings, ConfiguredSecret], ...]:
    """Return the targets that a document of FDI_CONFIG describes, and the secret of each; reads no secret.

    Args:
        data: the document.
        environ: the process's environment.
        present: the time now, in seconds since the epoch.

    Raises:
        CheckError: `settings_invalid`, with every fault there is.

    """
    from schemas.config_document import ConfigFaults, load  # brings PyYAML, for documents only

    faults: list[Fault] = []
    found: list[tuple[TargetSettings, ConfiguredSecret]] = []
    try:
        for target in load(data, present):
            try:
                url = parse_secret_url(target.token)
                found.append((target, ConfiguredSecret(url, open_store(url, environ))))
            except InvalidSecretUrl as error:
                faults.append(Fault("FDI_CONFIG", f"the token of {target.name} {error}"))
    except ConfigFaults as error:
        for fault in error.faults:
            line = f"line {fault.line}" if fault.line is not None else ""
            place = ", ".join(part for part in (line, fault.path) if part)
            faults.append(Fault("FDI_CONFIG", f"{place}: {fault.message}" if place else fault.message))
    if faults:
        raise _settings_invalid(faults)
    return tuple(found)


def _settings_invalid(faults: list[Fault]) -> CheckError:
    faults.sort(key=lambda fault: (fault.variable, fault.entry or 0))
    count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    names = list(dict.fromkeys(fault.variable for fault in faults))
    more = [f"+{len(names) - _MAX_VARIABLES} more"] if len(names) > _MAX_VARIABLES else []
    variables = ", ".join([*names[:_MAX_VARIABLES], *more])
    return CheckError("settings_invalid", f"the settings have {count}: {variables}", faults=tuple(faults))
