"""curl against the edge, with the commands of docs/protocols.md as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs" / "protocols.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
# A command goes on over a line that ends in a backslash, a pipe or inside quotes.
COMMANDS = [block for block in BLOCKS if "curl" in block]


@pytest.fixture(scope="module", autouse=True)
def need_curl() -> None:
    assert shutil.which("curl"), "this test needs curl"


def run(front: Any, script: str) -> list[Any]:
    """Run a script with the model `m` of the page put in place by one with its columns."""
    script = re.sub(r"/(models|mlflow|endpoints)/m\b", r"/\1/page", script)
    quiet = 'curl() { command curl --silent --show-error --fail-with-body "$@"; echo; }\n'
    command = ["bash", "-ec", quiet + script]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"URL": front.url, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, (script, done.stdout, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


@pytest.mark.parametrize("script", COMMANDS)
def test_what_the_page_shows_is_answered(front: Any, script: str) -> None:
    answers = run(front, script)
    assert len(answers) == len(re.findall(r"(?m)^\s*curl |\| curl ", script))
    assert not [answer for answer in answers if "error" in answer]


def test_the_page_shows_every_protocol() -> None:
    page = "\n".join(COMMANDS)
    for needed in ("/v2/models/m/infer", "/v1/models/m:predict", "/mlflow/m/invocations", "/openapi.json", "gzip"):
        assert needed in page


def test_a_token(front: Any) -> None:
    with front.closed() as token:
        told = run(front, f'curl -H "Authorization: Bearer {token}" $URL/v2/models')
        assert told == [{"models": ["also", "m", "page", "table", "words"]}]
        with pytest.raises(AssertionError, match="a token is needed"):
            run(front, "curl $URL/v2/models")
        assert run(front, "curl $URL/v2/health/ready") == [{"ready": True, "live": True}]
