"""The page is whole by itself, names in it do nothing, and a real browser draws it: a thousand columns in time."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.report import describe_drift, render_page
from rayloop.platform.stats import ColumnProfile, Profile, compare, profile

from .conftest import EVIL, Compared, build_column, build_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MOST_MS = 2_000.0
TRIES = 3

Browse = Callable[..., str]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Open a page in Chromium and give its document back as it is after the script ran."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")

    def browse(page: bytes, column: str | None = None, *options: str) -> str:
        path = tmp_path / "report.html"
        path.write_bytes(page)
        fragment = "" if column is None else f"#column={quote(column)}"
        fixed = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'chromium'}"]
        command = [CHROMIUM, *fixed, *options, "--dump-dom", path.as_uri() + fragment]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return browse


def test_it_loads_nothing_and_its_policy_names_its_own_two_parts(compared: Compared) -> None:
    page = render_page(compared.document()).decode()
    body, _, rest = page.partition('<script type="application/json" id="document">')
    data, _, script = rest.partition("</script>")
    assert re.findall(r"https?://[^\"']+", body + script) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert re.findall(r"<(?:link|img|iframe|object|embed|base|form)\b", body) == []
    assert re.findall(r"\b(?:src|href)=\"([^\"]*)", body) == ["#columns"]
    assert re.findall(r"url\(|@import|fetch\(|XMLHttpRequest|innerHTML|eval\(", body + script) == []
    assert json.loads(data)["title"] == "churn v7"
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', body)[0])
    style = re.findall(r"<style>(.*?)</style>", body, re.DOTALL)[0]
    code = re.findall(r"<script>(.*?)</script>", script, re.DOTALL)[0]
    wanted = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style-src", style), ("script-src", code))
    }
    assert policy.startswith("default-src 'none'; ")
    for name, digest in wanted.items():
        assert f"{name} 'sha256-{digest}'" in policy


def test_no_name_ends_the_script_and_the_head_is_readable_without_it(compared: Compared) -> None:
    report = replace(compared.report, reason=f"because of {EVIL} and {{title}}")
    page = render_page(describe_drift(report, compared.reference, compared.window, title=f"a & {EVIL}", made_s=0.0))
    assert page.count(b"</script>") == 2
    assert b"<img" not in page
    assert b"<!--" not in page
    assert f"<h1>{html.escape('a & ' + EVIL)}</h1>".encode() in page
    assert html.escape(report.reason).encode() in page
    assert b'<span class="badge">Drift</span>' in page


def test_only_a_document_is_drawn(compared: Compared) -> None:
    with pytest.raises(InvalidInput, match="form None version None"):
        render_page(compared.report.to_dict())


def test_a_browser_draws_every_column_and_runs_no_name(compared: Compared, browse: Browse) -> None:
    report = replace(
        compared.report, anomalies=({"code": "new", "column": EVIL, "severity": "error", "message": EVIL},)
    )
    document = describe_drift(report, compared.reference, compared.window, title=EVIL, made_s=0.0, about={EVIL: EVIL})
    areas, bars = 'class="window-area"', 'class="bars"'
    opened = {"age": areas, "seen_at": areas, "vector": areas, EVIL: areas, "children": "window-bar", "city": bars}
    for name, sign in (opened | {"user": bars, "income": bars, "empty": "null"}).items():
        drawn = browse(render_page(document), name)
        assert "<title>owned" not in drawn
        assert "<img" not in drawn
        assert drawn.count('<tr class="row') == len(report.columns) + 1  # the template's own
        (detail,) = re.findall(r'<tr class="detail".*?</tbody></table></div></div></div></td></tr>', drawn, re.DOTALL)
        assert sign in detail
        assert html.escape(name, quote=False) in detail
    order = re.findall(r'<span class="text">([^<]+)</span>', drawn)
    assert [html.unescape(name) for name in order] == document["order"]


def test_a_page_without_rows_or_columns_is_drawn(browse: Browse) -> None:
    nothing = build_report(verdict="too_few_rows", reference_rows=0, current_rows=0)
    drawn = browse(render_page(describe_drift(nothing, Profile({}, 0), Profile({}, 0), title="x", made_s=0.0)))
    assert "data-ready-ms" in drawn
    assert "Too few rows" in drawn
    short = build_report(build_column("gone", "too_few_rows", None, judged=None, limit=None, smallest_effect=None))
    drawn = browse(render_page(describe_drift(short, Profile({}, 0), Profile({}, 0), title="x", made_s=0.0)), "gone")
    assert 'class="detail"' in drawn


@pytest.fixture(scope="module")
def wide() -> bytes:
    """The page of a thousand columns."""
    random = np.random.default_rng(0)
    reference = profile({"bell": random.normal(0, 1, 2_000), "tail": random.lognormal(0, 1, 2_000)})
    window = profile({"bell": random.normal(1, 1, 900), "tail": random.lognormal(0, 1, 900)}, reference)

    def widened(side: Profile) -> Profile:
        columns: dict[str, ColumnProfile] = {}
        for number in range(500):
            columns |= {f"{name}_{number:03}": column for name, column in side.columns.items()}
        return Profile(columns, side.rows)

    both = widened(reference), widened(window)
    return render_page(describe_drift(compare(*both), *both, title="wide", made_s=0.0))


def test_a_thousand_columns_open_within_two_seconds(browse: Browse, wide: bytes) -> None:
    taken: list[float] = []
    while len(taken) < TRIES and min(taken, default=MOST_MS) >= MOST_MS:  # another's work may hold one up
        drawn = browse(wide)
        assert drawn.count('<tr class="row') == 1_001
        taken.append(float(re.findall(r'data-ready-ms="([\d.]+)"', drawn)[0]))
    assert min(taken) < MOST_MS, taken


def test_only_plots_in_view_are_drawn(browse: Browse, wide: bytes) -> None:
    drawn = browse(wide, None, "--virtual-time-budget=3000", "--window-size=1280,900")
    assert 5 <= drawn.count('class="window-area"') <= 60
