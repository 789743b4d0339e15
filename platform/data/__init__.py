"""Tables as data: the store, immutable snapshots, their split, and the bundle of a project's code."""

from .bundle import bundle_code, unpack_code
from .checks import check_file, check_table
from .code import checked_out, code_state
from .integrity import FileFault, check_objects
from .pieces import read_pieces
from .snapshot import Manifest, Snapshot, SnapshotFile, create_snapshot, open_snapshot
from .source import parquet_paths, read_source_files
from .split import PARTS, assign_parts
from .store import Store

__all__ = [
    "PARTS",
    "FileFault",
    "Manifest",
    "Snapshot",
    "SnapshotFile",
    "Store",
    "assign_parts",
    "bundle_code",
    "check_file",
    "check_objects",
    "check_table",
    "checked_out",
    "code_state",
    "create_snapshot",
    "open_snapshot",
    "parquet_paths",
    "read_pieces",
    "read_source_files",
    "unpack_code",
]
