"""FDI-OK appears only as a verdict's marker: neither settings nor callers can put it elsewhere."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.errors import CheckError, Fault
from fdi_health.formats import FORMATS
from handlers.application import Application
from handlers.problems import PROBLEMS, json_response, problem, problem_document
from handlers.request_context import RequestContext
from handlers.routes import ROUTES
from handlers.triggers.non_http_events import respond_to_event
from tests.conftest import PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator
    from tests.conftest import Function

MARKER = re.compile("FDI-OK", re.IGNORECASE)
WORD = "FDI-OK"
BAD_SETTINGS: list[dict[str, str | None]] = [
    {"FDI_INSTANCES": "FDI-OK=abc"},
    {"FDI_INSTANCES": "one=id-one,x=fdi-ok"},
    {"FDI_INSTANCES": "FDI-OK"},
    {"FDI_ENDPOINT": f"https://{WORD}!"},
    {"FDI_REGION": f"{WORD}!", "FDI_ENDPOINT": None},
    {"FDI_PROJECT_ID": f"{WORD} "},
    {"FDI_TOKEN": f"{WORD}://x"},
    {"FDI_TOKEN": WORD},
    {"FDI_TOKEN": f"env://ROMA_TOKEN#{WORD}"},
    {"FDI_TOKEN": f"file:///{WORD}"},
    {"FDI_TOKEN": f"env://{WORD}"},
    {"FDI_IAM_ENDPOINT": f"https://u@{WORD}"},
    {"FDI_CALLERS": f"file://{WORD}"},
    {"FDI_DEADLINE_SECONDS": WORD},
    {"FDI_CACHE_SECONDS": WORD},
    {"FDI_ANONYMOUS": WORD},
    {"FDI_ALLOW_EMPTY": WORD},
    {"FDI_OPTIONAL_TASK_GROUPS": WORD},
    {"FDI_MAX_PARALLEL": WORD},
    {"FDI_FDI-OK": "x"},
    {"FDI_fdi-ok": "x"},
]
QUERIES = [
    "",
    *(f"?format={name}" for name in FORMATS),
    *(f"?{name}={WORD}" for name in ("instance", "fail_on", "format")),
]


@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=json.dumps)
def test_bad_settings__never_show_the_marker(
    function: Callable[..., Function], caplog: pytest.LogCaptureFixture, settings: dict[str, str | None]
) -> None:  # H03
    caplog.set_level(logging.INFO)
    checked = function("status_500", **settings)

    for path in (*ROUTES, f"/{WORD}"):
        # An Accept header chooses only where no parameter does.
        asked = [(query, None) for query in QUERIES] + [("", form.media_type) for form in FORMATS.values()]
        for query, accept in asked:
            response = checked.get(path + query, headers={"Accept": accept} if accept else {})
            assert not MARKER.search(response.text), (path, query, accept, response.text)
            assert not MARKER.search(str(response.headers))
    assert not MARKER.search(json.dumps(respond_to_event(RequestContext(time.monotonic()), checked.process, None)))
    assert not MARKER.search(caplog.text)


def test_marker_in_the_settings__is_500_with_a_reason(function: Callable[..., Function]) -> None:  # H03
    checked = function("healthy", FDI_INSTANCES="FDI-OK=abc")

    for path in ("/", "/health", "/metrics", "/?format=text", "/?format=nagios"):
        response = checked.get(path)
        assert (response.status_code, response.get_json()["code"]) == (500, "settings_invalid")
        assert response.get_json()["faults"] == [
            {
                "variable": "FDI_INSTANCES",
                "entry": 1,
                "message": "must not contain the word that keyword checkers search for (FDI, a hyphen, OK); "
                "choose another alias, e.g. payments=ID",
            }
        ]
    assert checked.get("/ready").status_code == 503
    assert "FDI-NOT-OK unknown: settings_invalid" in checked.get("/badge.svg").text
    assert respond_to_event(RequestContext(time.monotonic()), checked.process, None)["code"] == "settings_invalid"


@pytest.mark.parametrize("settings", [{"FDI_INSTANCES": "FDI-OK=abc"}, {"FDI_FDI-OK": "x"}], ids=json.dumps)
@pytest.mark.parametrize("arguments", [["check"], ["check", "--format", "json"], ["doctor"], ["doctor", "--json"]])
def test_command_line__does_not_show_the_marker_of_bad_settings(
    upstream: Simulator, settings: dict[str, str], arguments: list[str]
) -> None:  # H03
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FDI_")}
    environ |= {"FDI_ENDPOINT": upstream.url, "FDI_PROJECT_ID": PROJECT_ID, "FDI_TOKEN": "env://T", "T": "token-1"}
    environ |= {"FDI_INSTANCES": "one=id-one"} | settings
    run = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-m", "fdi_health", *arguments], env=environ, capture_output=True, text=True, check=False
    )

    assert run.returncode not in (0, 1)
    assert run.stdout + run.stderr != ""
    assert not MARKER.search(run.stdout + run.stderr)


@pytest.mark.parametrize("play", ["marker_in_group_name", "echoes_marker"])
def test_upstream__never_puts_the_marker_into_a_failing_response(
    function: Callable[..., Function], play: str
) -> None:  # D59
    checked = function(play)
    for name in FORMATS:
        assert not MARKER.search(checked.get(f"/?format={name}").text)


def test_openapi__describes_the_marker_and_does_not_show_it(function: Callable[..., Function]) -> None:  # H03
    response = function("healthy").get("/openapi.json")

    assert not MARKER.search(response.text)
    # A JSON reader sees the marker; a keyword checker does not.
    assert response.get_json()["components"]["examples"]["json.healthy.anonymous"]["value"]["marker"] == "FDI-OK"


@pytest.mark.parametrize("code", PROBLEMS)
@pytest.mark.parametrize("word", ["FDI-OK", "fdi-ok", "xFdI-oKx"])
def test_problem__has_the_marker_in_no_text(code: str, word: str) -> None:  # H03
    faults = (Fault(f"FDI_{word}", f"{word} is wrong", 1),)
    error = CheckError(code, f"{word}: wrong", next_step=f"Replace {word}.", faults=faults)

    document = problem_document(error)

    assert not MARKER.search(json.dumps(document) + problem(error).body.decode() + str(error) + repr(error))
    text = re.sub("fdi-ok", "FDI_OK", word, flags=re.IGNORECASE)
    assert document["detail"] == f"{text}: wrong. Replace {text}."
    assert document["faults"] == [{"variable": f"FDI_{text}", "entry": 1, "message": f"{text} is wrong"}]


def test_problem__with_the_marker__is_refused() -> None:  # H03
    error = CheckError("overloaded", "too many")
    error.message = "FDI-OK"
    with pytest.raises(ValueError, match="marker of a healthy verdict"):
        problem_document(error)


def test_other_document__has_the_marker_in_no_text() -> None:  # H03
    document: dict[str, Any] = {"token": {"version": "v-fdi-ok-1"}}
    assert json.loads(json_response(document, 200).body) == {"token": {"version": "v-FDI_OK-1"}}


def test_schedule__without_settings__returns_no_marker() -> None:  # H03
    assert not MARKER.search(
        json.dumps(respond_to_event(RequestContext(time.monotonic()), Application({"FDI_INSTANCES": "FDI-OK"}), None))
    )
