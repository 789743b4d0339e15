"""A snapshot's name is its content, and its bytes are the source's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.data import Manifest, Snapshot, Store, create_snapshot, open_snapshot, read_source_files
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.project import Project
from rayloop.platform.stats import files as files_module
from rayloop.platform.stats import fit_binnings, profile_table, write_profile

Write = Callable[[str, pa.Table], Path]
MakeTable = Callable[..., pa.Table]


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(data={"key": "id"})


def snap(store: Store, project: Project, source: Path) -> Snapshot:
    return create_snapshot(store, project, read_source_files(str(source)))


def objects(store: Store) -> list[Path]:
    return sorted(path for path in Path(store.path("")).rglob("*") if path.is_file())


def test_the_same_content_has_the_same_digest_anywhere(
    tmp_path: Path, store: Store, project: Project, write: Write, make_table: MakeTable
) -> None:
    first = snap(store, project, write("a.parquet", make_table()))
    elsewhere = tmp_path / "elsewhere" / "other-name.parquet"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes((tmp_path / "rows" / "a.parquet").read_bytes())
    other_store = Store(str(tmp_path / "other-store"))
    assert snap(other_store, project, elsewhere).digest == first.digest
    before = objects(store)
    assert snap(store, project, elsewhere).digest == first.digest
    assert objects(store) == before


def test_one_changed_cell_changes_the_digest(
    store: Store, project: Project, write: Write, make_table: MakeTable
) -> None:
    table = make_table()
    ages = table["age"].to_pylist()
    ages[17] += 1e-9
    changed = table.set_column(table.column_names.index("age"), "age", pa.array(ages))
    digests = {snap(store, project, write(f"{place}.parquet", t)).digest for place, t in enumerate((table, changed))}
    assert len(digests) == 2


def test_objects_are_the_bytes_of_the_source(
    store: Store, project: Project, write: Write, make_table: MakeTable
) -> None:
    path = write("a.parquet", make_table())
    (file,) = snap(store, project, path).manifest.files
    assert store.read(file.object_name) == path.read_bytes()
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (file.rows, file.size_bytes, file.source) == (200, path.stat().st_size, "a.parquet")


def test_rows_come_back_in_the_order_of_the_names(
    store: Store, project: Project, write: Write, make_table: MakeTable
) -> None:
    second, first = make_table(30, seed=2), make_table(20, seed=1)
    folder = write("b.parquet", second).parent
    write("a.parquet", first)
    made = snap(store, project, folder)
    assert made.table() == pa.concat_tables([first, second])
    assert made.table(["city", "age"]).column_names == ["city", "age"]
    assert [rows for _, rows in made.row_keys()] == [20, 30]
    assert made.manifest.rows == 50
    assert open_snapshot(store, made.digest).table() == made.table()


def test_the_order_of_the_files_is_part_of_the_name(
    tmp_path: Path, store: Store, project: Project, make_table: MakeTable
) -> None:
    digests = set()
    for place, names in enumerate((("a", "b"), ("b", "a"))):
        folder = tmp_path / str(place)
        folder.mkdir()
        for seed, name in enumerate(names):
            pq.write_table(make_table(20, seed=seed), folder / f"{name}.parquet")
        digests.add(snap(store, project, folder).digest)
    assert len(digests) == 2


def test_a_file_copied_twice_counts_once(store: Store, project: Project, write: Write, make_table: MakeTable) -> None:
    table = make_table()
    alone = snap(store, project, write("a.parquet", table))
    made = snap(store, project, write("b.parquet", table).parent)
    assert made.digest == alone.digest
    assert made.manifest.rows == 200


def test_the_profile_is_that_of_the_whole_table(
    store: Store, project: Project, write: Write, make_table: MakeTable
) -> None:
    write("a.parquet", make_table(150, seed=1))
    made = snap(store, project, write("b.parquet", make_table(50, seed=2)).parent)
    table = made.table()
    assert write_profile(made.profile()) == write_profile(profile_table(table, fit_binnings(table)))
    assert made.profile().rows == 200


def test_the_profile_of_a_large_table_counts_every_row(
    store: Store, project: Project, write: Write, make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bins are those of a sample, widened to all of it: each row of the last file is in one."""
    monkeypatch.setattr(files_module, "SAMPLE_GROUPS", 1)
    for place in range(4):
        path = write(f"{place}.parquet", make_table(300, seed=place))
    made = snap(store, project, path.parent)
    ages = made.table()["age"].to_numpy()
    found = made.profile().columns["age"]
    assert (made.profile().rows, found.count) == (1200, 1200)
    assert (found.below, found.above, found.min, found.max) == (0.0, 0.0, ages.min(), ages.max())
    edges = np.array(found.binning.edges)
    counted = np.diff(np.searchsorted(np.sort(ages), edges, side="right"))
    assert found.counts[found.binning.first_bin : found.binning.first_bin + found.binning.num_bins].tolist() == (
        counted.tolist()
    )
    again = snap(Store(f"{store.root}-2"), project, path.parent)
    assert write_profile(again.profile()) == write_profile(made.profile())


def test_no_file_is_ever_whole_in_memory(
    tmp_path: Path, store: Store, project: Project, arrow_pool: pa.MemoryPool
) -> None:
    rows, columns = 400_000, 16
    random = np.random.default_rng(0)
    folder = tmp_path / "large"
    folder.mkdir()
    size = 2 * rows * (columns + 1) * 8
    for file in range(2):
        numbers = {f"x{place}": random.normal(size=rows) for place in range(columns)}
        keys = np.arange(rows) + file * rows
        label = np.where(keys % 2, "yes", "no")
        pq.write_table(
            pa.table({"id": keys, **numbers, "label": label}), folder / f"{file}.parquet", row_group_size=65_536
        )
    made = snap(store, project, folder)
    peak = arrow_pool.max_memory()
    assert made.table().num_rows == 2 * rows
    assert peak < size // 2 < size < arrow_pool.max_memory()  # a whole table is seen


def test_a_source_that_changes_meanwhile_is_refused(
    store: Store, project: Project, write: Write, make_table: MakeTable
) -> None:
    path = write("a.parquet", make_table())

    def change(*_: object) -> None:
        write("a.parquet", make_table(seed=1))

    with pytest.raises(InvalidInput, match=r"a\.parquet was changed while it was read: add it again"):
        create_snapshot(store, project, read_source_files(str(path)), accept=change)
    assert objects(store) == []


@pytest.mark.parametrize("suffixes", [("parquet", "parquet"), ("csv", "csv"), ("csv", "parquet")])
def test_a_source_behind_a_network_gives_the_same_snapshot(
    s3: str, store: Store, project: Project, write: Write, make_table: MakeTable, suffixes: tuple[str, str]
) -> None:
    paths = [
        write(f"{place}.{suffix}", make_table(60, seed=place).select(["id", "age", "city", "label"]))
        for place, suffix in enumerate(suffixes)
    ]
    local = snap(store, project, paths[0].parent)
    far = Store(s3)
    for path in paths:
        far.write(f"source/{path.name}", path.read_bytes())
    made = create_snapshot(far, project, read_source_files(f"{s3}/source"))
    assert made.digest == local.digest
    assert made.table() == local.table()
    # Files of two kinds are on two file systems, and each has a sample of its own.
    assert made.profile().rows == local.profile().rows
    assert suffixes[0] != suffixes[1] or write_profile(made.profile()) == write_profile(local.profile())


def test_pandas_indexes_do_not_part_files(store: Store, project: Project, write: Write, make_table: MakeTable) -> None:
    frame = make_table(60).to_pandas()
    write("a.parquet", pa.Table.from_pandas(frame[:20]))
    made = snap(store, project, write("b.parquet", pa.Table.from_pandas(frame[20:], preserve_index=False)).parent)
    assert made.table().num_rows == 60
    assert isinstance(made.table().to_pandas(), pd.DataFrame)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop_columns("city"), "has no column 'city', which the files before it have"),
        (lambda t: t.append_column("more", t["age"]), "has a column 'more', which the files before it have not"),
        (
            lambda t: t.select(["age", "id", "income", "city", "label"]),
            "has the columns of the files before it in another order",
        ),
        (
            lambda t: t.set_column(1, "age", t["age"].cast(pa.float32())),
            "column 'age' has type float, but double in the files before it",
        ),
        (
            lambda t: t.set_column(1, pa.field("age", pa.float64(), nullable=False), t["age"]),
            "column 'age' may hold nulls in one of the files, but not in all of them",
        ),
        (lambda t: t.set_column(4, "label", pa.nulls(200, pa.string())), "the target 'label' is null or NaN in 200"),
    ],
)
def test_a_bad_later_file_is_named_and_nothing_is_stored(
    store: Store,
    project: Project,
    write: Write,
    make_table: MakeTable,
    change: Callable[[pa.Table], pa.Table],
    sentence: str,
) -> None:
    write("a.parquet", make_table())
    path = write("b.parquet", change(make_table(seed=1)))
    with pytest.raises(InvalidInput) as error:
        snap(store, project, path.parent)
    assert str(error.value).startswith(str(path))
    assert sentence in str(error.value)
    assert objects(store) == []


def test_an_unknown_snapshot_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="is not in the store"):
        open_snapshot(store, "f" * 64)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"files": 5}', b"\xff", b"null"])
def test_a_damaged_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="damaged"):
        Manifest.from_json(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("files", 0, "sha256"), "0" * 64),
        (("files", 0, "rows"), 199),
        (("files", 0, "size_bytes"), 1),
        (("columns", 0, 0), "idd"),
        (("columns", 0, 1), "int32"),
        (("digest",), "0" * 64),
        (("digest",), 5),
    ],
)
def test_a_changed_manifest_is_refused(
    store: Store, project: Project, write: Write, make_table: MakeTable, path: tuple[str | int, ...], value: object
) -> None:
    made = snap(store, project, write("a.parquet", make_table()))
    content = json.loads(made.manifest.to_json())
    *parents, last = path
    inner = content
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    store.write(f"snapshots/{made.digest}/manifest.json", json.dumps(content).encode())
    with pytest.raises(InvalidInput, match="was changed after it was made"):
        open_snapshot(store, made.digest)


def test_the_manifest_of_another_snapshot_is_refused(
    store: Store, project: Project, write: Write, make_table: MakeTable
) -> None:
    first = snap(store, project, write("a.parquet", make_table()))
    second = snap(store, project, write("b/b.parquet", make_table(seed=1)))
    store.write(f"snapshots/{first.digest}/manifest.json", second.manifest.to_json())
    with pytest.raises(InvalidInput, match=f"is that of {second.digest[:12]}"):
        open_snapshot(store, first.digest)


def test_a_manifest_survives_json(store: Store, project: Project, write: Write, make_table: MakeTable) -> None:
    manifest = snap(store, project, write("a.parquet", make_table())).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_csv_is_stored_as_parquet(store: Store, project: Project, write: Write, make_table: MakeTable) -> None:
    table = make_table().select(["id", "age", "city", "label"])
    made = snap(store, project, write("a.csv", table))
    assert made.table().to_pydict() == table.to_pydict()
