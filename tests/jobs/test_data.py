"""New data are held against the snapshot before, as data.quality says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.jobs.data import AddedData, add_data, kept_anomalies
from rayloop.platform.data import Store
from rayloop.platform.errors import InvalidInput
from rayloop.platform.project import Project
from rayloop.platform.workspace import Workspace

from .conftest import Known, build_table


def with_quality(project: Project, word: str) -> Project:
    data = project.data.model_copy(update={"quality": word})
    return project.model_copy(update={"data": data})


def add(workspace: Workspace, known: Known, table: pa.Table, word: str = "warn") -> tuple[AddedData, list[str]]:
    said: list[str] = []
    pq.write_table(table, known.source)
    return add_data(workspace, with_quality(known.project, word), said.append), said


def spoilt(rows: int = 400) -> pa.Table:
    table = build_table(rows, seed=1)
    return table.set_column(2, "b", pa.array([None] * rows, pa.float32()))


def test_the_same_source_grown_has_no_anomaly(workspace: Workspace, known: Known) -> None:
    more = build_table(200, seed=1).set_column(0, "id", pa.array(np.arange(120, 320)))
    added, said = add(workspace, known, pa.concat_tables([build_table(120), more]))
    assert (added.is_new, added.anomalies, said) == (True, (), [])
    assert kept_anomalies(workspace, "toy", added.snapshot.digest) == ()


def test_anomalies_are_said_and_kept(workspace: Workspace, known: Known) -> None:
    added, said = add(workspace, known, spoilt())
    assert [(anomaly.code, anomaly.column) for anomaly in added.anomalies] == [("COLUMN_ALL_NULL", "b")]
    assert said == [f"error COLUMN_ALL_NULL: {added.anomalies[0].reason}"]
    assert kept_anomalies(workspace, "toy", added.snapshot.digest) == added.anomalies
    assert workspace.projects.latest_snapshot("toy").digest == added.snapshot.digest


def test_half_a_file_is_a_warning(workspace: Workspace, known: Known) -> None:
    added, _ = add(workspace, known, build_table(59))
    assert [(anomaly.code, anomaly.severity) for anomaly in added.anomalies] == [("TOO_FEW_ROWS", "warning")]


def test_columns_that_come_and_go(workspace: Workspace, known: Known) -> None:
    table = build_table(200, seed=2).drop_columns("a").append_column("more", pa.array(np.arange(200)))
    added, _ = add(workspace, known, table)
    assert [(anomaly.code, anomaly.column) for anomaly in added.anomalies] == [
        ("SCHEMA_MISSING_COLUMN", "a"),
        ("SCHEMA_NEW_COLUMN", "more"),
    ]


def objects(store: Store) -> int:
    return len(store.filesystem.get_file_info(_all(store)))


def _all(store: Store) -> object:
    from pyarrow import fs

    return fs.FileSelector(store.path(""), recursive=True)


def test_refused_data_leave_nothing_behind(workspace: Workspace, known: Known) -> None:
    before = objects(workspace.store)
    with pytest.raises(InvalidInput, match=r"is refused, as data\.quality says: COLUMN_ALL_NULL, column 'b' is null"):
        add(workspace, known, spoilt(), "refuse")
    assert objects(workspace.store) == before
    assert workspace.projects.latest_snapshot("toy").digest == known.snapshot.digest
    added, _ = add(workspace, known, build_table(59), "refuse")  # a warning is no reason to refuse
    assert [anomaly.code for anomaly in added.anomalies] == ["TOO_FEW_ROWS"]


def test_off_looks_at_nothing(workspace: Workspace, known: Known) -> None:
    added, said = add(workspace, known, spoilt(), "off")
    assert (added.is_new, added.anomalies, said) == (True, (), [])


def test_known_content_is_not_held_against_anything(workspace: Workspace, known: Known) -> None:
    add(workspace, known, spoilt())
    added, said = add(workspace, known, build_table(120))
    assert (added.is_new, said) == (False, [])


def test_a_snapshot_without_a_readable_profile_is_counted_again(workspace: Workspace, known: Known) -> None:
    workspace.store.write(f"snapshots/{known.snapshot.digest}/profile.parquet", b"{}")
    added, _ = add(workspace, known, spoilt())
    assert [anomaly.code for anomaly in added.anomalies] == ["COLUMN_ALL_NULL"]
