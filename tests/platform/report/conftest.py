"""A reference and a window that moved in some columns, one kind of column each, and what is judged of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.report import describe_drift
from rayloop.platform.stats import ColumnDrift, DriftReport, Profile, compare, profile

EVIL = "</script><img src=x onerror=\"document.title='owned'\"><!--\u2028"
NOW_S = 1_790_000_000.0


def build_table(rows: int, seed: int, moved: bool) -> pa.Table:
    random = np.random.default_rng(seed)
    by = 1.0 if moved else 0.0
    cities = ["Bonn", "Kiel", "Ulm", "Berlin" if moved else "Ulm"]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(random.normal(by, 1, rows * 4)), 4)
    return pa.table(
        {
            "age": random.normal(40 + 10 * by, 10, rows),
            "income": pa.array(random.lognormal(10, 2, rows), mask=random.uniform(size=rows) < 0.02 + 0.3 * by),
            "basket": np.where(random.uniform(size=rows) < 0.6, 0.0, random.lognormal(3, 1, rows)),
            "children": random.poisson(1.2, rows),
            "city": random.choice(cities, rows, p=[0.5, 0.2, 0.1, 0.2]),
            "seen_at": pa.array((1.76e9 + random.uniform(0, 86_400 * 30, rows)).astype("datetime64[s]")),
            "is_new": pa.array(random.uniform(size=rows) < 0.5),
            "user": [f"user-{seed}-{row}" for row in range(rows)],
            "vector": vectors,
            "empty": pa.nulls(rows, pa.float64()),
            EVIL: random.normal(0, 1, rows),
        }
    )


@dataclass(frozen=True)
class Compared:
    """Two profiles and the report on them."""

    reference: Profile
    window: Profile
    report: DriftReport

    def document(self, **changes: Any) -> dict[str, Any]:
        given = {"title": "churn v7", "made_s": NOW_S, "since_s": NOW_S - 3_600, "until_s": NOW_S}
        return describe_drift(self.report, self.reference, self.window, **(given | changes))


@pytest.fixture(scope="session")
def compared() -> Compared:
    reference = profile(build_table(3_000, 1, moved=False))
    window = profile(build_table(1_000, 2, moved=True), reference)
    return Compared(reference, window, compare(reference, window))


def build_column(name: str, verdict: Any = "none", value: float | None = 0.05, **changes: Any) -> ColumnDrift:
    given: dict[str, Any] = {
        "column": name,
        "kind": "numeric",
        "statistics": {"psi": value},
        "judged": "psi",
        "value": value,
        "limit": 0.2,
        "p_value": 0.01,
        "adjusted_p": 0.02,
        "smallest_effect": 0.01,
        "verdict": verdict,
        "reason": "because",
    }
    return ColumnDrift(**(given | changes))


def build_report(*columns: ColumnDrift, **changes: Any) -> DriftReport:
    given: dict[str, Any] = {
        "reference_rows": 3_000,
        "current_rows": 1_000,
        "columns": tuple(sorted(columns, key=lambda one: one.column)),
        "drifted_share": sum(one.verdict == "drift" for one in columns) / max(len(columns), 1),
        "verdict": "drift",
        "reason": "the columns moved",
        "alpha": 0.05,
    }
    return DriftReport(**(given | changes))
