"""Variables that Kubernetes sets in every pod for the Services of its namespace ("service links").

If the name of a Service begins with `fdi`, its variables begin like our settings. Each form has values of its own. So a
setting that is misspelt as one of these names, such as FDI_DEADLINE_PORT=4, remains a fault.

Source: the Kubernetes documentation, "Service: environment variables".
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Not compiled here: most environments have no such variable.
_SERVICE = "FDI(?:_[A-Z0-9]+)*"
_NUMBER = "[0-9]{1,5}"
_PROTOCOL = "tcp|udp|sctp"
_URL = r"(?:tcp|udp|sctp)://(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+):[0-9]{1,5}"

_HOST_NAME = f"{_SERVICE}(?:_SERVICE_HOST|_PORT_[0-9]+_(?:TCP|UDP|SCTP)_ADDR)"
_NUMBER_NAME = f"{_SERVICE}(?:_SERVICE_PORT(?:_[A-Z0-9_]+)?|_PORT_[0-9]+_(?:TCP|UDP|SCTP)_PORT)"
_PROTOCOL_NAME = f"{_SERVICE}_PORT_[0-9]+_(?:TCP|UDP|SCTP)_PROTO"
_URL_NAME = f"{_SERVICE}_PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?"


def is_service_link(name: str, value: str) -> bool:
    """Whether a variable has both the name and the value of a service link."""
    return any(re.fullmatch(form, name) and fits(value) for form, fits in _FORMS)


def _is_number(text: str) -> bool:
    return re.fullmatch(_NUMBER, text) is not None


def _is_protocol(text: str) -> bool:
    return re.fullmatch(_PROTOCOL, text) is not None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_url(text: str) -> bool:
    url = re.fullmatch(_URL, text)
    return url is not None and _is_address(url["host"].strip("[]"))


_FORMS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (_HOST_NAME, _is_address),
    (_NUMBER_NAME, _is_number),
    (_PROTOCOL_NAME, _is_protocol),
    (_URL_NAME, _is_url),
)
"""The form of a name → whether a value is one that Kubernetes gives it; a name may have several forms."""
