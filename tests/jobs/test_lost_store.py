"""An object store that goes away in mid-training ends the try with one sentence, and the next one goes on."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rayloop.cluster.ports import free_port
from rayloop.platform.data import Store
from rayloop.platform.errors import Unavailable
from rayloop.platform.state import Runs

from .test_faults import EPOCHS, after_epoch, assert_same, tries_of

SCRIPT = Path(__file__).parent / "object_store.py"
PATIENCE_S = 60.0  # a lost store must not hold a training up for longer


@dataclass
class ObjectStore:
    """The server, and how it is named."""

    process: subprocess.Popen[str]
    port: int

    @property
    def root(self) -> str:
        options = f"endpoint_override=127.0.0.1%3A{self.port}&scheme=http&region=us-east-1&allow_bucket_creation=false"
        return f"s3://key:word@bucket/rayloop?{options}"

    def ask(self, what: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == what


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    pytest.importorskip("moto", reason="moto[server] is not installed: it is one of the extra `dev`")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield ObjectStore(process, port)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def bucket(server: ObjectStore) -> Iterator[ObjectStore]:
    server.ask("start")
    yield server
    server.ask("stop")


@pytest.fixture
def calm(tmp_path: Path) -> Mapping[str, Any]:
    """The last state of a training on a disk that nothing happened to."""
    (tmp_path / "calm").mkdir()
    tries = tries_of(tmp_path / "calm", tmp_path / "calm/store")
    tries.train()
    return tries.last()


def test_it_goes_away_between_two_checkpoints(
    tmp_path: Path, bucket: ObjectStore, calm: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = tries_of(tmp_path, bucket.root)
    after_epoch(tries, monkeypatch, 2, lambda: bucket.ask("stop"))
    began_s = time.monotonic()
    with pytest.raises(Unavailable, match=r"^cannot (write|remove|read) s3://bucket/rayloop/training/") as caught:
        tries.train()
    assert time.monotonic() - began_s < PATIENCE_S
    assert "\n" not in str(caught.value)
    with pytest.raises(Unavailable):
        tries.train()  # as the next start of the workers does
    bucket.ask("start")
    assert (tries.last()["epoch"], tries.run.failure()) == (2, {})
    tries.train()
    assert tries.last()["epoch"] == EPOCHS
    assert_same(tries.last(), calm)


def test_each_question_to_one_that_is_away_is_one_sentence(bucket: ObjectStore) -> None:
    store = Store(bucket.root)
    store.write("a/b.bin", b"one")
    assert (store.read("a/b.bin"), store.exists("a/c.bin")) == (b"one", False)
    store.remove("a/c.bin")
    bucket.ask("stop")
    questions: list[Callable[[], object]] = [
        lambda: store.read("a/b.bin"),
        lambda: store.open("a/b.bin"),
        lambda: store.exists("a/b.bin"),
        lambda: store.entries("a"),
        lambda: store.remove("a/b.bin"),
        lambda: store.write("a/c.bin", b"two"),
        lambda: Runs(store).all(),
    ]
    try:
        with ThreadPoolExecutor(len(questions)) as pool:  # each takes seconds: pyarrow tries three times
            faults = [asked.exception() for asked in [pool.submit(question) for question in questions]]
    finally:
        bucket.ask("start")
    for fault in faults:
        assert isinstance(fault, Unavailable)
        assert re.fullmatch(r"cannot (write|remove|read) s3://bucket/rayloop/[^\n]*", str(fault))
        assert "word" not in str(fault)  # which is a secret
    assert store.read("a/b.bin") == b"one"
