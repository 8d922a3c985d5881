"""How many checks run at once: some threads of the server stay free for /live."""

from __future__ import annotations

import contextlib

import pytest

from fdi_health.errors import CheckError
from handlers.admission_control import AdmissionControl


@pytest.mark.parametrize(
    ("threads", "limit"),
    [("64", 56), ("16", 8), ("8", 4), ("1", 1), ("0", 1), ("", 56), ("many", 56), ("٣", 56), ("9" * 5000, 56)],
)
def test_check__beyond_the_limit__is_overloaded_until_another_ends(threads: str, limit: int) -> None:
    admission = AdmissionControl({"THREADS": threads})
    with contextlib.ExitStack() as running:
        for _ in range(limit):
            running.enter_context(admission.check())
        with pytest.raises(CheckError) as caught:
            running.enter_context(admission.check())
        assert caught.value.code == "overloaded"
    with admission.check():
        pass
