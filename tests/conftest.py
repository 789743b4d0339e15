"""What every test gets: a home folder of its own, and no Ray unless it is marked `cluster`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest

_pools: list[pa.MemoryPool] = []  # one must outlive all that was allocated from it


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RAYLOOP_HOME in the test's own folder (not made yet); no other setting of the caller's comes in."""
    for name in [name for name in os.environ if name.startswith("RAYLOOP_") or name == "MLFLOW_TRACKING_URI"]:
        monkeypatch.delenv(name)
    home = tmp_path / ".rayloop"
    monkeypatch.setenv("RAYLOOP_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `ray.init` fail; a first `.remote()` calls it too. Tests of GPUs may run where there is no Ray at all."""
    if request.node.get_closest_marker("cluster") is None and find_spec("ray") is not None:
        monkeypatch.setattr("ray.init", _refuse)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server of this process, with an empty bucket named `bucket`."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of an empty folder of a real S3 server."""
    from pyarrow import fs

    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": s3_server, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    filesystem = fs.S3FileSystem(endpoint_override=s3_server, allow_bucket_creation=True, allow_bucket_deletion=True)
    filesystem.create_dir("bucket")
    yield "s3://bucket/store"
    filesystem.delete_dir("bucket")


@pytest.fixture
def arrow_pool() -> Iterator[pa.MemoryPool]:
    """Arrow's memory of this test alone: `max_memory()` is the most that it took at once."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.system_memory_pool())
    _pools.append(pool)
    pa.set_memory_pool(pool)
    yield pool
    pa.set_memory_pool(before)


def _refuse(*_arguments: Any, **_options: Any) -> NoReturn:
    raise AssertionError("this test starts Ray: mark it with @pytest.mark.cluster")
