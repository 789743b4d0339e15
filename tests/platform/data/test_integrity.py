"""Every object of a snapshot is read and held against the manifest."""

from __future__ import annotations

import hashlib

from rayloop.platform.data import Manifest, SnapshotFile, Store, check_objects


def made(store: Store, *contents: bytes) -> Manifest:
    files = []
    for place, content in enumerate(contents):
        file = SnapshotFile(hashlib.sha256(content).hexdigest(), 1, len(content), f"{place}.parquet")
        store.write(file.object_name, content)
        files.append(file)
    return Manifest(tuple(files), (("a", "int64"),))


def test_sound_objects_have_no_fault(store: Store) -> None:
    assert check_objects(store, made(store, b"one", b"two" * 1_000_000, b"")) == []


def test_a_changed_bit_and_a_lost_file_are_named_in_order(store: Store) -> None:
    manifest = made(store, b"one", b"two", b"three")
    store.write(manifest.files[2].object_name, b"thref")
    store.filesystem.delete_file(store.path(manifest.files[0].object_name))
    lost, changed = check_objects(store, manifest)
    assert str(lost) == f"0.parquet ({manifest.files[0].object_name}) is gone from the store"
    assert changed.found == hashlib.sha256(b"thref").hexdigest()
    assert str(changed) == (
        f"2.parquet ({manifest.files[2].object_name}) was changed: its SHA-256 is {changed.found[:12]}, "
        f"the manifest says {manifest.files[2].sha256[:12]}"
    )
