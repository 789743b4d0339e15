"""A file in the store is whole or not there, in a folder and behind a `file://` URI alike."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from rayloop.platform.data import Store
from rayloop.platform.data import store as store_module
from rayloop.platform.errors import InvalidInput, NotFound, Unavailable


@pytest.fixture(params=["folder", "uri"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    folder = tmp_path / "store"
    return Store(str(folder) if request.param == "folder" else folder.as_uri())


def test_what_is_written_is_read(any_store: Store, tmp_path: Path) -> None:
    assert any_store.is_local
    assert not any_store.exists("a/b.bin")
    any_store.write("a/b.bin", b"one")
    any_store.write("a/b.bin", b"two")
    assert any_store.exists("a/b.bin")
    assert any_store.exists("a")
    assert any_store.read("a/b.bin") == b"two"
    assert any_store.path("a/b.bin") == any_store.uri("a/b.bin") == str(tmp_path / "store/a/b.bin")
    assert any_store.path("") == str(tmp_path / "store")
    assert sorted(path.name for path in (tmp_path / "store/a").iterdir()) == ["b.bin"]


def test_an_open_file_can_be_sought_in(any_store: Store) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1, 2]}), sink)
    any_store.write("a.parquet", sink.getvalue().to_pybytes())
    with any_store.open("a.parquet") as source:
        assert pq.read_table(source)["x"].to_pylist() == [1, 2]


def test_a_missing_file_is_named(any_store: Store, tmp_path: Path) -> None:
    for read in (any_store.read, any_store.open):
        with pytest.raises(NotFound) as error:
            read("none.json")
        assert str(error.value) == f"{tmp_path}/store/none.json is not in the store"


def test_a_file_comes_in_chunks_or_not_at_all(any_store: Store) -> None:
    any_store.write_chunks("a/b.bin", iter([b"one", b"", b"two"]))
    assert any_store.read("a/b.bin") == b"onetwo"

    def chunks() -> Iterator[bytes]:
        yield b"half"
        assert any_store.read("a/b.bin") == b"onetwo"
        raise InvalidInput("the source was changed")

    for name in ("a/b.bin", "a/new.bin"):
        with pytest.raises(InvalidInput, match="the source was changed"):
            any_store.write_chunks(name, chunks())
    assert [path.name for path in Path(any_store.path("a")).iterdir()] == ["b.bin"]
    assert any_store.read("a/b.bin") == b"onetwo"


@pytest.mark.parametrize("most_bytes", [1, 1 << 30])
def test_an_object_store_shows_no_half_of_chunks(s3: str, monkeypatch: pytest.MonkeyPatch, most_bytes: int) -> None:
    """Also where an object is too large to be copied in one request."""
    monkeypatch.setattr(store_module, "MOST_COPIED_BYTES", most_bytes)
    store = Store(s3)
    store.write_chunks("a/b.bin", iter([b"one", b"two"]))
    assert store.read("a/b.bin") == b"onetwo"

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise InvalidInput("the source was changed")

    for name in ("a/b.bin", "a/new.bin"):
        with pytest.raises(InvalidInput, match="the source was changed"):
            store.write_chunks(name, chunks())
    found = store.filesystem.get_file_info(fs.FileSelector(store.path("a")))
    assert [info.base_name for info in found] == ["b.bin"]
    assert store.read("a/b.bin") == b"onetwo"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_write_leaves_what_was_there(store: Store, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store.write("a/old.bin", b"old")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], fail)
    for name in ("a/old.bin", "a/new.bin"):
        with pytest.raises(Unavailable) as error:
            store.write(name, b"new")
        assert str(error.value) == f"cannot write {store.path(name)}: No space left on device"
    assert [path.name for path in Path(store.path("a")).iterdir()] == ["old.bin"]
    assert store.read("a/old.bin") == b"old"


def test_readers_never_see_half_a_file(store: Store) -> None:
    contents = [bytes([value]) * 200_000 for value in range(2)]
    store.write("a.bin", contents[0])
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for content in contents:
                store.write("a.bin", content)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        assert {store.read("a.bin") in contents for _ in range(200)} == {True}
    finally:
        stop.set()
        writer.join()


def test_a_file_in_the_way_of_a_folder_is_named(store: Store) -> None:
    store.write("a", b"")
    with pytest.raises(Unavailable, match=r"cannot write .*/store/a/b: "):
        store.write("a/b", b"")
    Path(store.path("folder")).mkdir()
    with pytest.raises(Unavailable, match=r"cannot read .*/store/folder: "):
        store.read("folder")


@pytest.mark.parametrize("root", ["nowhere://bucket/x", "file://relative/x"])
def test_a_bad_root_names_the_variable(root: str) -> None:
    with pytest.raises(InvalidInput, match=f"^RAYLOOP_STORE={root}: it must be a folder or an s3:// URI"):
        Store(root)


def test_a_relative_root_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store("here").path("a") == str(tmp_path / "here/a")


def test_a_folder_is_put_as_a_whole_and_once(any_store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a.bin").write_bytes(b"one")
    uri = any_store.put_folder("models/x", source)
    assert uri == str(tmp_path / "store/models/x")
    assert any_store.read("models/x/deep/a.bin") == b"one"
    (source / "deep" / "a.bin").write_bytes(b"two")
    assert any_store.put_folder("models/x", source) == uri
    assert any_store.read("models/x/deep/a.bin") == b"one"
    assert [path.name for path in (tmp_path / "store/models").iterdir()] == ["x"]


def test_a_folder_goes_to_an_object_store_too(tmp_path: Path) -> None:
    (tmp_path / "source/deep").mkdir(parents=True)
    (tmp_path / "source/deep/a.bin").write_bytes(b"one")
    (tmp_path / "bucket").mkdir()
    store = Store(str(tmp_path / "bucket"))
    store.filesystem, store._base = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem()), "rayloop"
    assert not store.is_local
    store.put_folder("models/x", tmp_path / "source")
    store.put_folder("models/x", tmp_path / "source")
    assert (tmp_path / "bucket/rayloop/models/x/deep/a.bin").read_bytes() == b"one"


def test_a_store_that_was_there_and_is_gone_is_not_begun_anew(store: Store) -> None:
    store.write("a/b.bin", b"one")
    shutil.rmtree(store.root)
    calls: list[Callable[[], object]] = [
        lambda: store.write("a/c.bin", b"two"),
        lambda: store.read("a/b.bin"),
        lambda: store.open("a/b.bin"),
    ]
    for call in calls:
        with pytest.raises(Unavailable) as caught:
            call()
        assert str(caught.value) == f"the store {store.root} is gone: its folder is not there any more"
    with pytest.raises(Unavailable, match="is gone"):
        Store(store.root).require()
    assert not Path(store.root).exists()
    Store(store.root).write("a/b.bin", b"three")  # another process may begin it


def test_files_are_listed_and_removed_where_they_are(store: Store) -> None:
    assert store.entries("a") == []
    store.remove("a/b.bin")
    store.write("a/b.bin", b"one")
    assert [found.base_name for found in store.entries("a")] == ["b.bin"]
    store.remove("a/b.bin")
    assert not store.exists("a/b.bin")
    Path(store.path("a/folder")).mkdir()
    with pytest.raises(Unavailable, match=r"cannot remove .*/store/a/folder: "):
        store.remove("a/folder")


def test_the_options_of_a_root_stay_at_the_end_of_a_uri() -> None:
    """As an object store of one's own is named; asking for the URI asks nobody."""
    store = Store("s3://key:word@bucket/rows?endpoint_override=127.0.0.1%3A9&scheme=http&region=x")
    assert store.uri("a/b.bin") == (
        "s3://key:word@bucket/rows/a/b.bin?endpoint_override=127.0.0.1%3A9&scheme=http&region=x"
    )
    assert Store(store.uri("a")).path("") == "bucket/rows/a"
