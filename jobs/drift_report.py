"""Keeps what a drift job found: the report, its page and both profiles, in the store and beside the version's run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..platform.data import Store
from ..platform.errors import RayloopError
from ..platform.quality import Anomaly
from ..platform.registry.report import log_report
from ..platform.report import describe_drift, document_bytes, render_page, worst_distributions
from ..platform.stats import DriftReport, Profile, write_profile
from ..platform.traffic.captured import Window
from ..platform.workspace import Workspace

PROFILE_SUFFIX = ".profile"
SHOWN_COLUMNS = 50
"""Columns whose distributions are given back to a terminal."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A window, its reference, and what the comparison says."""

    report: DriftReport
    reference: Profile
    current: Profile


def with_anomalies(report: DriftReport, anomalies: Iterable[Anomaly]) -> DriftReport:
    """The report, and beside its verdicts what is wrong with the window's data."""
    found = tuple({**anomaly.to_dict(), "message": anomaly.reason} for anomaly in anomalies)
    return replace(report, anomalies=found)


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a report lies in the store, and its page and document."""

    folder: str
    files: Mapping[str, bytes]
    distributions: Mapping[str, Any]
    """Of the columns that drift most."""


def keep_report(
    store: Store, judged: Judged, title: str, window: Window | None = None, about: Mapping[str, str] | None = None
) -> Kept:
    """Write the report as JSON and as a page, and both profiles, into a folder of their own."""
    document = describe_drift(
        judged.report,
        judged.reference,
        judged.current,
        title=title,
        made_s=time.time(),
        since_s=None if window is None else window.since_s,
        until_s=None if window is None else window.until_s,
        about=about,
    )
    files = {"report.json": document_bytes(document), "report.html": render_page(document)}
    folder = f"drift/reports/{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
    profiles = {"reference": judged.reference, "window": judged.current}
    for name, content in files.items():
        store.write(f"{folder}/{name}", content)
    for name, profile in profiles.items():
        store.write(f"{folder}/{name}{PROFILE_SUFFIX}", write_profile(profile))
    return Kept(folder, files, worst_distributions(document, SHOWN_COLUMNS))


def log_with_run(workspace: Workspace, model: str, version: int, kept: Kept, number: int) -> str | None:
    """Put the report beside the run of a registered version; None, or one sentence that says why not."""
    try:
        run_id = workspace.registry.version(model, version).run_id
    except RayloopError as error:
        return f"the report is not in MLflow: {error}"
    return log_report(workspace.settings, run_id, kept.files, folder=f"drift/{number}")
