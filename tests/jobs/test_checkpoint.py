"""A checkpoint is whole or none: cut short, bit-flipped or half written, the one before it counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rayloop.jobs.training.checkpoint import MANIFEST, Background, Checkpoints
from rayloop.platform.data import Store
from rayloop.platform.errors import Unavailable

FILES = {"state.pt": b"s" * 1000, "shards/__0_0.distcp": b"d" * 10}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(Store(str(tmp_path)), "run/checkpoints", keep=2)


def folder(tmp_path: Path, name: str) -> Path:
    return tmp_path / "run/checkpoints" / name


def write(checkpoints: Checkpoints, *names: str) -> None:
    for name in names:
        checkpoints.write(name, FILES, {"step": int(name)})


def test_the_newest_is_read_back(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None
    write(checkpoints, "1", "2")
    found = checkpoints.latest()
    assert found is not None
    assert (found[0].name, found[0].about, found[1]) == ("2", {"step": 2}, FILES)


def test_the_oldest_are_removed(checkpoints: Checkpoints) -> None:
    write(checkpoints, "1", "2", "3")
    assert checkpoints.names() == ["2", "3"]


@pytest.mark.parametrize("file", [*FILES, MANIFEST])
@pytest.mark.parametrize("fault", ["cut short", "one bit", "gone", "empty"])
def test_a_damaged_one_gives_way_to_the_one_before(
    checkpoints: Checkpoints, tmp_path: Path, file: str, fault: str
) -> None:
    write(checkpoints, "1", "2")
    path = folder(tmp_path, "2") / file
    content = bytearray(path.read_bytes())
    if fault == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        kept = {"cut short": bytes(content[: len(content) // 2]), "one bit": bytes(content), "empty": b""}
        path.write_bytes(kept[fault])
    said: list[str] = []
    found = checkpoints.latest(said.append)
    assert found is not None
    assert found[0].name == "1"
    assert len(said) == 1
    assert "checkpoint 2" in said[0]


def test_any_bit_of_the_manifest_counts(checkpoints: Checkpoints, tmp_path: Path) -> None:
    write(checkpoints, "1", "2")
    path = folder(tmp_path, "2") / MANIFEST
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        if content[place : place + 1].isspace():
            continue  # between values it means nothing
        flipped = bytearray(content)
        flipped[place] ^= 4
        path.write_bytes(bytes(flipped))
        found = checkpoints.latest()
        assert found is not None
        assert found[0].name == "1", f"byte {place}: {content[max(0, place - 20) : place + 20]!r}"


def test_a_write_that_was_cut_off_leaves_the_one_before(checkpoints: Checkpoints) -> None:
    write(checkpoints, "1")
    checkpoints.begin("2")
    checkpoints.add("2", "state.pt", b"new")
    found = checkpoints.latest()
    assert found is not None
    assert found[0].name == "1"
    write(checkpoints, "2")
    again = checkpoints.latest()
    assert again is not None
    assert again[0].name == "2"


def test_a_full_disk_is_one_sentence_and_the_last_one_stays(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(checkpoints, "1")
    monkeypatch.setattr("rayloop.platform.data.store.os.fsync", _full)
    with pytest.raises(Unavailable, match=r"cannot write .*2/state.pt: No space left on device"):
        write(checkpoints, "2")
    monkeypatch.undo()
    found = checkpoints.latest()
    assert found is not None
    assert found[0].name == "1"


def test_a_lost_store_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder was")
    with pytest.raises(Unavailable, match=r"cannot (write|remove|read)"):
        Checkpoints(Store(str(tmp_path)), "run/checkpoints").write("1", FILES, {})


def test_work_in_the_background_is_waited_for_and_its_error_comes_out() -> None:
    background, done = Background(), []
    background.start(lambda: (time.sleep(0.1), done.append(1))[1])
    assert background.is_busy
    background.start(lambda: done.append(2))  # waits for the first
    background.wait()
    assert done == [1, 2]
    assert not background.is_busy
    background.start(lambda: _full(0))
    with pytest.raises(OSError, match="No space"):
        background.wait()
    background.wait()


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")
