"""The state of one process: its service is opened once, and every fault in its settings is named."""

from __future__ import annotations

import pytest

from fdi_health.errors import CheckError
from handlers.application import Application


def test_service__is_opened_once_and_not_before() -> None:
    environ = {"FDI_REGION": "cn-north-4", "FDI_PROJECT_ID": "p", "FDI_INSTANCES": "a=1", "FDI_TOKEN": "env://T"}
    application = Application(environ)
    application.close()
    assert application.service() is application.service()
    application.close()


def test_service__broken_settings__error_lists_the_secret_url_among_all_faults() -> None:
    with pytest.raises(CheckError) as caught:
        Application({"FDI_TOKEN": "MIIbare", "FDI_INSTANCES": "{"}).service()
    faults = [(fault.variable, fault.entry) for fault in caught.value.faults]
    assert faults == [("FDI_INSTANCES", 1), ("FDI_PROJECT_ID", None), ("FDI_REGION", None), ("FDI_TOKEN", None)]
    assert caught.value.message == "the settings have 4 faults: FDI_INSTANCES, FDI_PROJECT_ID, FDI_REGION, FDI_TOKEN"


def test_service__one_broken_setting__message_says_one_fault() -> None:
    environ = {"FDI_REGION": "cn-north-4", "FDI_PROJECT_ID": "p", "FDI_INSTANCES": "a=1", "FDI_TOKEN": "MIIbare"}
    with pytest.raises(CheckError, match=r"^the settings have one fault: FDI_TOKEN$"):
        Application(environ).service()
