"""The page in Debian's Chromium: axe-core finds nothing, nothing overflows, and pictures for people to look at.

The pictures are in build/screenshots. docs/status-page.png is one of them, made smaller by hand:
`pngquant --quality 60-90 --output docs/status-page.png build/screenshots/unhealthy.png`.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, sync_playwright
from werkzeug.serving import make_server

from handlers import status_page
from handlers.application import Application
from handlers.triggers.wsgi import wsgi_application
from simulator import MonitoredTask, Simulator
from tests.conftest import TOKEN
from tests.servers import ROOT
from tests.status_pages import HOSTILE, KEY, KEYED, TASKS
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PICTURES = ROOT / "build" / "screenshots"
FLEET = {
    "payments": ("fae7ff6c-8e07-4cf8-9e67-589cab2f017c", "doc_example"),
    "orders": ("11111111-2222-4333-8444-555555555555", "healthy"),
    "crm": ("99999999-8888-4777-8666-555555555555", "refuses_token"),
    "billing": ("0b1d2c3e-1111-4222-8333-444455556666", "healthy"),
    "stock": ("5a6b7c8d-1111-4222-8333-444455556666", "no_tasks"),
}
"""Name → ID and what the simulator plays for it."""

MANY = [f"pipeline-{number:03d}" for number in range(200)]
_TOMORROW = datetime.now(UTC) + timedelta(days=1)
_MUTES = f"payments={_TOMORROW:%Y-%m-%dT06:00Z},orders={_TOMORROW:%Y-%m-%dT22:00Z}/{_TOMORROW:%Y-%m-%dT23:00Z}"


class Scene(NamedTuple):
    """What a picture shows: instances, settings, path, width and colours."""

    instances: tuple[str, ...]
    settings: Mapping[str, str] = {}
    path: str = "/status/details"
    width: int = 1000
    dark: bool = False


SCENES = {
    "unhealthy": Scene(tuple(FLEET)),
    "unhealthy-dark": Scene(tuple(FLEET), dark=True),
    "unhealthy-phone": Scene(tuple(FLEET), width=360),
    "healthy": Scene(("orders", "billing")),
    "unknown": Scene(("crm",)),
    "muted": Scene(tuple(FLEET), {"FDI_MUTE": _MUTES}),
    "many": Scene(tuple(MANY)),
    "hostile": Scene(("hostile",)),
    "hostile-phone": Scene(("hostile",), width=360),
    "anonymous": Scene(tuple(FLEET), path="/status"),
    "settings": Scene(tuple(FLEET), {"FDI_CACHE_SECONDS": "x", "FDI_NOPE": "1"}, dark=True),
}


@pytest.fixture(scope="module")
def roma() -> Iterator[Simulator]:
    with Simulator(tokens=[TOKEN]) as simulator:
        for instance_id, play in FLEET.values():
            simulator.play(instance_id, play)
        for number, name in enumerate(MANY):
            simulator.play(name, {0: "doc_example", 7: "status_503"}.get(number % 25, "healthy"))
        simulator.play("hostile", "doc_example")
        failed = round((datetime.now(UTC) - timedelta(hours=3)).timestamp() * 1000)
        simulator.monitors.put(FLEET["payments"][0], [replace(task, last_execute_time=failed) for task in TASKS])
        text = " ".join(HOSTILE)
        hostile = MonitoredTask(task_id="t1", task_name=text, source_app_name="שלום", target_app_name="n" * 300)
        simulator.monitors.put("hostile", [hostile, MonitoredTask(task_id="t2", task_name=HOSTILE[1], remarks=text)])
        yield simulator


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = tool("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def axe() -> str:
    path = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not installed; .ci/install installs it")
    return path.read_text()


@contextmanager
def served(roma: Simulator, instances: tuple[str, ...], settings: Mapping[str, str]) -> Iterator[str]:
    """Serve the function on a free port; yields its URL."""
    environ = {
        "FDI_ENDPOINT": roma.url,
        "FDI_PROJECT_ID": roma.project_id,
        "FDI_INSTANCES": ",".join(f"{name}={FLEET[name][0]}" if name in FLEET else name for name in instances),
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
        **{name: str(value) for name, value in KEYED.items()},
        **settings,
    }
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = Application(environ)
    server = make_server("127.0.0.1", 0, wsgi_application(application), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        application.close()


def context_of(browser: Browser, scene: Scene, **options: Any) -> BrowserContext:
    return browser.new_context(
        viewport={"width": scene.width, "height": 760},
        color_scheme="dark" if scene.dark else "light",
        http_credentials={"username": "", "password": KEY},
        **options,
    )


@pytest.mark.parametrize("name", SCENES)
def test_page__has_no_fault_that_axe_finds_and_does_not_overflow(
    roma: Simulator, browser: Browser, axe: str, name: str
) -> None:
    scene, messages = SCENES[name], []
    with served(roma, scene.instances, scene.settings) as url, context_of(browser, scene) as context:
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.goto(url + scene.path)
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= scene.width
        # The style that the policy names was applied: a page without it is white.
        colour = page.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor")
        assert colour != "rgba(0, 0, 0, 0)"
        page.evaluate(axe)
        found = page.evaluate("axe.run({resultTypes: ['violations', 'incomplete']})")
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found["violations"]] == []
    assert [fault["id"] for fault in found["incomplete"]] == []
    assert not [message for message in messages if "Failed to load resource" not in message]


def test_keyboard__reaches_every_link_and_shows_where_it_is(roma: Simulator, browser: Browser) -> None:
    scene = SCENES["unhealthy"]
    with served(roma, scene.instances, {}) as url, context_of(browser, scene) as context:
        page = context.new_page()
        page.goto(url + scene.path)
        wanted = page.locator("a, summary").count()
        reached = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            focused = "document.activeElement"
            reached.append(page.evaluate(f"{focused}.textContent"))
            assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid"
    assert (reached[0], reached[-1]) == ("pause", "Readiness")
    assert {"ROMA Connect console", "JSON"} <= set(reached)


def test_refresh__without_script__loads_the_page_anew(
    roma: Simulator, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_page, "REFRESH_SECONDS", 1)
    scene, loads = SCENES["healthy"], []
    with (
        served(roma, scene.instances, {}) as url,
        context_of(browser, scene, java_script_enabled=False) as context,
    ):
        page = context.new_page()
        page.on("load", lambda _: loads.append(page.url))
        page.goto(f"{url}/status")
        page.wait_for_event("load")
        refreshed = len(loads)
        with page.expect_navigation():
            page.get_by_role("link", name="pause").click()
        paused = len(loads)
        page.wait_for_timeout(1300)
    assert refreshed == 2
    assert len(loads) == paused
    assert loads[-1].endswith("?refresh=off")


def test_details__without_a_key__make_the_browser_ask_for_one(roma: Simulator, browser: Browser) -> None:
    scene = SCENES["unhealthy"]
    with (
        served(roma, scene.instances, {}) as url,
        browser.new_context() as context,
        pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"),  # without a person at the dialog
    ):
        context.new_page().goto(f"{url}/status/details")
