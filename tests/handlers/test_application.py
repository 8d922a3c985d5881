"""The process's own state: opened once, and how many checks it lets in."""

from __future__ import annotations

import pytest

from fdi_health.errors import CheckError
from handlers.application import Application


@pytest.mark.parametrize(
    ("threads", "admitted"),
    [("64", 56), ("16", 8), ("8", 4), ("1", 1), ("0", 1), ("", 56), ("many", 56), ("٣", 56), ("9" * 5000, 56)],
)
def test_admission__keeps_threads_free_for_live(threads: str, admitted: int) -> None:
    process = Application({"THREADS": threads})
    under_way = [process.admitted() for _ in range(admitted)]
    for check in under_way:
        check.__enter__()
    with pytest.raises(CheckError) as caught, process.admitted():
        pass
    assert caught.value.code == "overloaded"
    for check in under_way:
        check.__exit__(None, None, None)
    with process.admitted():
        pass


def test_service__is_opened_once_and_not_before() -> None:
    environ = {"FDI_REGION": "cn-north-4", "FDI_PROJECT_ID": "p", "FDI_INSTANCES": "a=1", "FDI_TOKEN": "env://T"}
    process = Application(environ)
    process.close()
    assert process.service() is process.service()
    process.close()


def test_broken_settings__name_the_secret_urls_fault_beside_the_others() -> None:
    with pytest.raises(CheckError) as caught:
        Application({"FDI_TOKEN": "MIIbare", "FDI_INSTANCES": "{"}).service()
    faults = [(fault.variable, fault.entry) for fault in caught.value.faults]
    assert faults == [("FDI_INSTANCES", 1), ("FDI_PROJECT_ID", None), ("FDI_REGION", None), ("FDI_TOKEN", None)]
    assert caught.value.message == "the settings have 4 faults: FDI_INSTANCES, FDI_PROJECT_ID, FDI_REGION, FDI_TOKEN"


def test_one_broken_setting__is_counted_in_the_singular() -> None:
    environ = {"FDI_REGION": "cn-north-4", "FDI_PROJECT_ID": "p", "FDI_INSTANCES": "a=1", "FDI_TOKEN": "MIIbare"}
    with pytest.raises(CheckError, match=r"^the settings have one fault: FDI_TOKEN$"):
        Application(environ).service()
