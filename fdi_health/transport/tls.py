"""The TLS context, and the mapping of refused certificates to messages."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_CA_STEP = (
    "Put the CA's certificate into the PEM file that REQUESTS_CA_BUNDLE names; if the endpoint is a public one, find "
    "out what intercepts TLS on the way."
)
_RENEW_STEP = "Check this machine's clock; if it is right, have the certificate of the server or TLS proxy renewed."
_CLOCK_STEP = "Check this machine's clock; if it is right, wait until the certificate's validity begins."
_NAME_STEP = (
    "Check FDI_ENDPOINT and what intercepts TLS on the way; the certificate must have the host under subjectAltName, "
    "since its common name does not count."
)
_REISSUE_STEP = (
    "Have the certificate issued anew by the CA of the server or TLS proxy, with the extensions of RFC 5280."
)
_STRONGER_STEP = "Have the certificate issued anew with a longer key and a modern signature."

_UNKNOWN_CA = ("comes from an unknown CA", _CA_STEP)
_BAD_CA = ("has an issuer that may not issue certificates", _REISSUE_STEP)
_NOT_RFC_5280 = ("is not formed as RFC 5280 demands, which Python 3.13 and later check", _REISSUE_STEP)
_BAD_DATE = ("has a malformed date", _REISSUE_STEP)
_NAME_CONSTRAINED = ("is for a name that its CA may not certify", _REISSUE_STEP)

_UNKNOWN_CA_CODES = frozenset({2, 18, 19, 20, 21, 27})
_CERTIFICATE_FAULTS: dict[int, tuple[str, str]] = {
    **dict.fromkeys(_UNKNOWN_CA_CODES, _UNKNOWN_CA),
    7: ("has a signature that is wrong", _REISSUE_STEP),
    9: ("is not valid yet", _CLOCK_STEP),
    10: ("has expired", _RENEW_STEP),
    13: _BAD_DATE,
    14: _BAD_DATE,
    18: ("is signed by itself", _CA_STEP),
    22: ("has a chain that is too long", _REISSUE_STEP),
    23: ("is revoked", "Have the certificate of the server or TLS proxy replaced."),
    24: _BAD_CA,
    25: _BAD_CA,
    26: ("is not a certificate for servers", _REISSUE_STEP),
    28: ("comes from a CA that the CA bundle rejects", _CA_STEP),
    32: _BAD_CA,
    34: ("has a critical extension that is not known", _REISSUE_STEP),
    47: _NAME_CONSTRAINED,
    48: _NAME_CONSTRAINED,
    62: ("is for another host name", _NAME_STEP),
    64: ("is for another IP address", _NAME_STEP),
    66: ("has a key that is too short", _STRONGER_STEP),
    67: ("comes from a CA with a key that is too short", _STRONGER_STEP),
    68: ("has a signature algorithm that is no longer safe", _STRONGER_STEP),
    79: _BAD_CA,
    **dict.fromkeys(range(80, 95), _NOT_RFC_5280),
    85: ("has no authority key identifier, which Python 3.13 and later demand", _REISSUE_STEP),
    86: ("comes from a CA without a subject key identifier, which Python 3.13 and later demand", _REISSUE_STEP),
    92: ("comes from a CA without a key usage, which Python 3.13 and later demand", _REISSUE_STEP),
}
"""OpenSSL's X509_V_ERR_… (x509_vfy.h) → what goes on after "the server's certificate", and the next step."""


def map_certificate_error(verify_code: int, ca_folder_variable: str | None = None) -> tuple[str, str | None]:
    """Return why a certificate was refused, to follow "the server's certificate", and the next step.

    Args:
        verify_code: OpenSSL's.
        ca_folder_variable: the variable that names a folder of CA certificates, or None where a file is used. OpenSSL
            finds a certificate in a folder only under the name that its rehash command gives it.

    """
    message, next_step = _CERTIFICATE_FAULTS.get(verify_code, ("was refused", None))
    if ca_folder_variable is not None and verify_code in _UNKNOWN_CA_CODES:
        next_step = (
            f"Put the CA's certificate into the folder that {ca_folder_variable} names, then run openssl rehash on "
            "that folder: only certificates with hashed names are found."
        )
    return message, next_step


def ca_folder_variable(environ: Mapping[str, str]) -> str | None:
    """Return the variable that names the folder of trusted CA certificates, or None where a file is used."""
    variable = _ca_variable(environ)
    return variable if variable is not None and Path(environ[variable]).is_dir() else None


def tls_context(environ: Mapping[str, str], variables: Sequence[str] = CA_VARIABLES) -> ssl.SSLContext | CheckError:
    """Return the context that trusts the CA bundle of the environment, or the error that keeps us from making one.

    Host names are matched against the certificate's subjectAltName only (RFC 9525): any CA may write anything into a
    common name.

    Args:
        environ: the process's environment.
        variables: those that may name the CA bundle; the first that is set counts.

    """
    variable = _ca_variable(environ, variables)
    place = Path(environ[variable] if variable else certifi.where())
    try:
        if place.is_dir():
            context = ssl.create_default_context(capath=str(place))
        else:
            context = ssl.create_default_context(cafile=str(place))
    except (OSError, ValueError):
        source = f"the CA bundle that {variable} names" if variable else "the built-in CA bundle"
        return CheckError(
            "tls_error",
            f"{source} could not be read",
            next_step=f"Let {variable} name a PEM file or a folder of certificates, or unset it." if variable else None,
        )
    context.hostname_checks_common_name = False
    return context


def _ca_variable(environ: Mapping[str, str], variables: Sequence[str] = CA_VARIABLES) -> str | None:
    return next((name for name in variables if environ.get(name)), None)
