"""Secrets in the environment and in files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, open_store, parse_secret_url
from fdi_health.secret_stores.file import MAX_FILE_BYTES
from tests.conformance.secret_store import SecretStoreSuite
from tests.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function


@dataclass
class EnvironmentHarness:
    """A secret in an environment."""

    url: str = "env://SECRET"
    environ: dict[str, str] = field(default_factory=dict)

    def put(self, secret: bytes) -> None:
        self.environ["SECRET"] = os.fsdecode(secret)

    def remove(self) -> None:
        self.environ.clear()


class TestEnvironment(SecretStoreSuite):
    """The suite against the environment."""

    @pytest.fixture
    def harness(self) -> EnvironmentHarness:
        return EnvironmentHarness()


@dataclass
class FileHarness:
    """A secret in a file."""

    file: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.url = f"file://{self.file}"

    def put(self, secret: bytes) -> None:
        self.file.write_bytes(secret)

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)


class TestFile(SecretStoreSuite):
    """The suite against a file."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> FileHarness:
        return FileHarness(tmp_path / "secret")


SOON = Deadline.after(5)


def read(url: str, environ: dict[str, str] | None = None) -> bytes:
    return open_store(parse_secret_url(url), environ or {}).read(SOON).data


def message(url: str) -> str:
    with pytest.raises(CheckError) as caught:
        read(url)
    assert caught.value.code == "token_unavailable"
    return caught.value.message


def test_environment__upper_and_lower_case__is_kept() -> None:
    assert read("env://Roma_Token", {"Roma_Token": "a", "roma_token": "b"}) == b"a"


def test_environment__undecodable_bytes__are_returned_unchanged() -> None:
    assert read("env://T", {"T": os.fsdecode(b"\xff\xfe")}) == b"\xff\xfe"


def test_environment__missing_variable__says_so_without_its_name() -> None:
    assert (
        message("env://NOWHERE")
        == "the secret does not exist: the environment variable that the secret URL names is not set"
    )


def test_file__changed__is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "with space"
    store = open_store(parse_secret_url(f"file://{tmp_path}/with%20space"), {})
    for text in (b"one", b"two"):
        file.write_bytes(text)
        assert store.read(SOON).data == text


def test_file__kubernetes_symlink_is_replaced__check_uses_the_new_one(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path
) -> None:
    for version, token in (("..1", TOKEN), ("..2", "second-token")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(token)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")
    checked = function("healthy", FDI_TOKEN=f"file://{tmp_path}/token")
    assert checked.verdict()["healthy"] is True

    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    upstream.tokens.clear()
    upstream.tokens.add("second-token")

    assert checked.verdict()["healthy"] is True


def test_file__unreadable__says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert message(f"file://{tmp_path}/nowhere") == "the secret is a file that does not exist"
    assert message(f"file://{tmp_path}/file/below") == "the secret is a file that does not exist"
    assert message(f"file://{tmp_path}") == "the secret is not a regular file"
    (tmp_path / "loop").symlink_to("loop")
    assert message(f"file://{tmp_path}/loop") == "the secret is a file that could not be read"


@pytest.fixture
def not_root() -> Iterator[None]:
    """Be nobody for a while: root may read every file."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_file__permission_denied__says_so(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0)
    request.getfixturevalue("not_root")
    assert message(f"file://{tmp_path}/token") == "the secret is a file that may not be read by this process"


def test_file__very_long__is_read_whole_or_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"x" * MAX_FILE_BYTES)
    assert len(read(f"file://{tmp_path}/token")) == MAX_FILE_BYTES
    (tmp_path / "token").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(CheckError, match="too large"):
        read(f"file://{tmp_path}/token")


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("MIIbaretoken", "must be a secret URL"),
        ("", "must be a secret URL"),
        ("store://x", "must be a secret URL"),
        ("ENV://X", "must be a secret URL"),
        ("env://A B", "must be a secret URL"),
        ("gcpsecretmanager://projects/acme/secrets/roma token/versions/1", "must be a secret URL"),
        ("env://", "must be env://NAME"),
        ("env:///NAME", "must be env://NAME"),
        ("env://1NAME", "must be env://NAME"),
        ("env://NAME/x", "must be env://NAME"),
        ("env://NAME?x=1", "must be env://NAME"),
        ("file://relative/path", "must be file:// and an absolute path"),
        ("file://", "must be file:// and an absolute path"),
        ("file:///a?x=1", "must be file:// and an absolute path"),
        ("file:///a%00b", "must be file:// and an absolute path"),
    ],
)
def test_open_store__malformed_url__says_the_form_and_an_example(url: str, form: str) -> None:
    with pytest.raises(InvalidSecretUrl, match=f"^{form}.*e\\.g\\. "):
        open_store(parse_secret_url(url), {})


def test_parse_secret_url__upper_and_lower_case__is_kept() -> None:
    parsed: Any = parse_secret_url("gcpsecretmanager://projects/P:x/secrets/S/versions/1?a=b#Key/x")
    assert (parsed.scheme, parsed.place, parsed.query, parsed.key) == (
        "gcpsecretmanager",
        "projects/P:x/secrets/S/versions/1",
        "a=b",
        "Key/x",
    )
