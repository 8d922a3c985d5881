"""Which certificates are trusted, and what the person on call is told of those that are not; over real TLS."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.transport.client import Transport
from fdi_health.transport.tls import CA_VARIABLES, map_certificate_error, tls_context
from tests.certificates import Certificate, issue, make_ca, tls_server
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture(scope="module")
def ca() -> Certificate:
    return make_ca()


@pytest.fixture
def bundle(ca: Certificate, tmp_path: Path) -> dict[str, str]:
    """Return an environment that trusts the CA."""
    path = tmp_path / "ca.pem"
    path.write_bytes(ca.pem())
    return {"SSL_CERT_FILE": str(path)}


def ask(
    certificate: Certificate,
    environ: Mapping[str, str],
    folder: Path,
    context: ssl.SSLContext | None = None,
    host: str = "localhost",
) -> int:
    with tls_server(certificate.server_context(folder)) as port:
        opened = Transport.open(f"https://{host}:{port}", environ, 1, context)
        try:
            return opened.get("/", {}, Deadline.after(2)).status
        finally:
            opened.close()


def refusal(
    certificate: Certificate, environ: Mapping[str, str], folder: Path, context: ssl.SSLContext | None = None
) -> CheckError:
    with pytest.raises(CheckError) as caught:
        ask(certificate, environ, folder, context)
    assert caught.value.code == "tls_error"
    return caught.value


@pytest.mark.parametrize("hosts", [["localhost"], ["other.example", "localhost"], ["*.example", "LOCALHOST"]])
def test_certificate__with_the_host_in_its_san__is_accepted(
    ca: Certificate, bundle: dict[str, str], tmp_path: Path, hosts: list[str]
) -> None:
    assert ask(issue(ca, "other.example", hosts), bundle, tmp_path) == 200


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1"], ["other.example"]])
def test_certificate__with_the_host_only_as_common_name__is_refused(
    ca: Certificate, bundle: dict[str, str], tmp_path: Path, hosts: list[str]
) -> None:  # D43
    error = refusal(issue(ca, "localhost", hosts), bundle, tmp_path)
    assert error.message == "the server's certificate is for another host name"
    assert "subjectAltName" in str(error.next_step)


def test_context__that_is_shared__checks_no_common_name(bundle: dict[str, str]) -> None:  # D43
    context = tls_context(bundle)
    assert isinstance(context, ssl.SSLContext)
    assert (context.check_hostname, context.hostname_checks_common_name) == (True, False)


def test_certificate__without_authority_key_identifier__says_so_where_that_is_demanded(
    ca: Certificate, bundle: dict[str, str], tmp_path: Path
) -> None:  # D44
    context = tls_context(bundle)
    assert isinstance(context, ssl.SSLContext)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 has it by default
    certificate = issue(ca, hosts=["localhost"], key_identifier=False)
    error = refusal(certificate, bundle, tmp_path, context)
    assert "no authority key identifier, which Python 3.13" in error.message
    assert "RFC 5280" in str(error.next_step)


def test_certificate__that_is_complete__is_accepted_where_all_of_it_is_demanded(
    ca: Certificate, bundle: dict[str, str], tmp_path: Path
) -> None:
    context = tls_context(bundle)
    assert isinstance(context, ssl.SSLContext)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert ask(issue(ca, hosts=["localhost"]), bundle, tmp_path, context) == 200


@pytest.mark.parametrize(("days", "words"), [((1, 2), "is not valid yet"), ((-3, -2), "has expired")])
def test_certificate__out_of_its_time__asks_for_the_clock(
    ca: Certificate, bundle: dict[str, str], tmp_path: Path, days: tuple[int, int], words: str
) -> None:  # D46
    error = refusal(issue(ca, hosts=["localhost"], days=days), bundle, tmp_path)
    assert words in error.message
    assert str(error.next_step).startswith("Check this machine's clock")


def test_certificate__for_clients_only__says_so(ca: Certificate, bundle: dict[str, str], tmp_path: Path) -> None:
    error = refusal(issue(ca, hosts=["localhost"], for_clients=True), bundle, tmp_path)
    assert error.message == "the server's certificate is not a certificate for servers"


@pytest.mark.parametrize("variable", CA_VARIABLES)
@pytest.mark.parametrize("present", [False, True])
def test_ca_folder__without_hashed_names__asks_for_a_rehash(
    ca: Certificate, tmp_path: Path, variable: str, present: bool
) -> None:  # D42
    folder = tmp_path / "certs"
    folder.mkdir()
    if present:
        (folder / "ca.pem").write_bytes(ca.pem())
    error = refusal(issue(ca, hosts=["localhost"]), {variable: str(folder)}, tmp_path)
    assert "unknown CA" in error.message
    assert f"the folder that {variable} names" in str(error.next_step)
    assert "openssl rehash" in str(error.next_step)
    assert str(tmp_path) not in f"{error.message} {error.next_step}"


def test_ca_folder__that_is_rehashed__is_trusted(ca: Certificate, tmp_path: Path) -> None:  # D42
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(ca.pem())
    subprocess.run([tool("openssl"), "rehash", str(folder)], check=True)  # noqa: S603 -- the system's own tool
    environ = {"REQUESTS_CA_BUNDLE": str(folder)}
    assert ask(issue(ca, hosts=["localhost"]), environ, tmp_path) == 200


def test_ca_folder__is_not_blamed_for_another_fault(ca: Certificate, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(ca.pem())
    subprocess.run([tool("openssl"), "rehash", str(folder)], check=True)  # noqa: S603 -- as above
    error = refusal(issue(ca, hosts=["localhost"], days=(1, 2)), {"SSL_CERT_FILE": str(folder)}, tmp_path)
    assert "rehash" not in str(error.next_step)


def test_ca_file__is_not_asked_for_a_rehash(ca: Certificate, tmp_path: Path) -> None:
    path = tmp_path / "other.pem"
    path.write_bytes(make_ca().pem())
    error = refusal(issue(ca, hosts=["localhost"]), {"SSL_CERT_FILE": str(path)}, tmp_path)
    assert "rehash" not in str(error.next_step)


def test_folder__is_that_of_the_transports_own_environment(ca: Certificate, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    environ = {"SSL_CERT_FILE": str(folder)}
    context = tls_context(environ)
    assert isinstance(context, ssl.SSLContext)
    error = refusal(issue(ca, hosts=["localhost"]), environ, tmp_path, context)
    assert "SSL_CERT_FILE" in str(error.next_step)


@pytest.mark.parametrize(
    "verify_code", [2, 7, 9, 10, 18, 19, 20, 21, 22, 23, 24, 25, 26, 62, 64, 66, 68, *range(79, 95)]
)
def test_verify_code__has_words_and_a_step_of_its_own(verify_code: int) -> None:
    message, next_step = map_certificate_error(verify_code)
    assert message != "was refused"
    assert next_step


def test_verify_code__that_is_not_known__is_a_refusal() -> None:
    assert map_certificate_error(1000) == ("was refused", None)
