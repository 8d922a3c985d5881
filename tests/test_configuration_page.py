"""docs/configuration.md: its try-out works as written, with another port."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.servers import ROOT, clean_environ

if TYPE_CHECKING:
    from pathlib import Path


def test_tryout__followed_word_for_word__prints_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    section = page.partition("## Try it without an account")[2].partition("\n## ")[0]
    simulate, document, check = re.findall(r"```(?:yaml)?\n(.*?)```", section, re.DOTALL)
    key = re.search(r"ROMA_KEY='(.*)'", check)
    first_line = re.search(r"Its first line is `(.*)`", section)
    assert key and first_line  # noqa: PT018 -- both only narrow the types

    command = [sys.executable, *shlex.split(simulate.replace("\\\n", " "))[1:], "--port=0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as simulator:  # noqa: S603 -- a program of ours
        try:
            assert simulator.stdout is not None
            url = simulator.stdout.readline().split()[-1]
            (tmp_path / "targets.yaml").write_text(document.replace("http://127.0.0.1:8090", url))
            settings = {"ROMA_KEY": key[1], "FDI_CONFIG": f"file://{tmp_path}/targets.yaml"}
            done = subprocess.run(  # noqa: S603 -- a program of ours
                [sys.executable, *shlex.split(check.splitlines()[-1])[1:]],
                cwd=ROOT,
                env=clean_environ(settings, tmp_path),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        finally:
            simulator.terminate()

    assert (done.returncode, done.stdout.splitlines()[0]) == (2, first_line[1])
