"""Schemathesis against the edge: no answer may break its OpenAPI document, and none may be a server error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
SEED = 20_261_124
# The edge's own document, and those of three models; a count and not a time, so that each run asks the same.
DOCUMENTS = {"openapi.json": 40, "v2/models/m/openapi.json": 40, "v2/models/table/openapi.json": 15}
DOCUMENTS |= {"v2/models/words/openapi.json": 15}
NEEDED = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
}


@pytest.mark.parametrize(("document", "num_examples"), DOCUMENTS.items())
def test_no_answer_breaks_the_document(
    front: Any, run_in: Any, tmp_path: Path, document: str, num_examples: int
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
    options = ["--seed", str(SEED), "--max-examples", str(num_examples), "--phases", "examples,coverage,fuzzing"]
    options += ["--continue-on-failure", "--no-color", "--no-shrink", "--checks", ",".join(sorted(NEEDED))]
    done = run_in(
        "schemathesis",
        "schemathesis",
        *("--config-file", str(HERE / "schemathesis.toml"), "run", f"{front.url}/{document}", *options),
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    (counts,) = re.findall(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counts[0] == counts[1]
    assert int(counts[0]) > 500
    paths = httpx.get(f"{front.url}/{document}").json()["paths"]
    del paths[f"/{document}"]  # it does not ask for the document that it has
    num_operations = sum(len(item.keys() - {"parameters"}) for item in paths.values())
    assert re.findall(r"Tested: (\d+)", done.stdout) == [str(num_operations)]
