"""The folder that a version is made of: safetensors, model.json, the reference profile, code. Never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyarrow import fs
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import InvalidInput, NotFound
from ..stats import Profile, read_profile, write_profile
from .schema import Feature, Schema, canonical_json
from .signature import NUMPY_DTYPE, Columns, ExampleSource, Signature
from .task import BUILT_IN, Task, find_task

FORMAT = 1
LABEL_FROM = 0.5
"""The probability from which a label is given."""
MODEL_FILE, WEIGHTS_FILE, PROFILE_FILE, CODE_FOLDER = (
    "model.json",
    "model.safetensors",
    "profile.parquet",
    "code",
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that answers; it is the Predictor of our own artifacts."""

    schema: Schema
    task: Task
    module: nn.Module
    signature: Signature
    sha256: str

    @property
    def example_source(self) -> ExampleSource:
        """Its example is made of what the training saw."""
        return "trained"

    def predict(
        self,
        columns: Columns,
        params: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> dict[str, NDArray[np.generic]]:
        """Answer rows as the signature promises: `prediction`, and `probabilities` or `quantiles` if any."""
        target = self.schema.target
        with torch.inference_mode():
            given = self.task.predict(self.module, self.task.encode(self.schema, columns))
        if not target.classes:
            return {one.name: given[one.name].numpy().astype(np.float64) for one in target.outputs}
        probabilities = given["probabilities"].numpy()
        if target.is_multilabel:
            return {"prediction": probabilities >= LABEL_FROM, "probabilities": probabilities}
        classes = np.asarray(target.classes, dtype=NUMPY_DTYPE[target.datatype])
        return {"prediction": classes[probabilities.argmax(axis=1)], "probabilities": probabilities}

    def example(self, rows: int) -> dict[str, NDArray[np.generic]]:
        """Rows that training could have seen: numbers and pixels at their mean, each text at its first category."""
        return {feature.name: _example(feature, rows) for feature in self.schema.features}


def _example(feature: Feature, rows: int) -> NDArray[np.generic]:
    value: object = feature.mean
    if feature.kind == "image":
        from .picture import mean_picture  # Pillow, which no other kind needs

        value = mean_picture(feature)
    elif feature.datatype == "BYTES":
        value = feature.categories[0] if feature.categories else ""
    width = feature.spec.width
    return np.full(rows if width == 1 else (rows, width), value, dtype=NUMPY_DTYPE[feature.datatype])


def save_artifact(
    folder: Path,
    module: nn.Module,
    schema: Schema,
    use: str,
    params: Mapping[str, Any],
    profile: Profile,
    code_from: Path | None = None,
) -> str:
    """Write the artifact; returns its SHA-256, which covers every file of it."""
    folder.mkdir(parents=True, exist_ok=True)
    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    save_file(weights, str(folder / WEIGHTS_FILE))
    (folder / PROFILE_FILE).write_bytes(write_profile(profile))
    if code_from is not None and use not in BUILT_IN:
        # The whole of the project's own modules: a task may import its neighbours.
        ignored = shutil.ignore_patterns("__pycache__", ".*", "*.parquet", "*.csv")
        shutil.copytree(code_from, folder / CODE_FOLDER, ignore=ignored)
    hashes = _hashes(folder)
    model = {
        "format": FORMAT,
        "task": use,
        "params": dict(params),
        "schema": schema.to_dict(),
        "files": hashes,
    }
    content = canonical_json(model)
    (folder / MODEL_FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_artifact(source: str) -> LoadedModel:
    """Load an artifact from a folder or URI, on CPU, checking every file against its hash.

    Raises NotFound where there is none, InvalidInput where a file was changed.
    """
    with tempfile.TemporaryDirectory(prefix="rayloop-model-") as scratch:
        folder = _local(source, Path(scratch))
        content = (folder / MODEL_FILE).read_bytes()
        try:
            model = json.loads(content)
            schema = Schema.from_dict(model["schema"])
            files, use, params = dict(model["files"]), model["task"], model["params"]
        except (ValueError, KeyError, TypeError):
            raise InvalidInput(f"{source}/{MODEL_FILE} is damaged") from None
        found = _hashes(folder)
        for name in sorted(files.keys() | found.keys()):
            if found.get(name) != files.get(name):
                raise InvalidInput(f"{source}/{name} was changed, lost or added after the model was saved")
        code = _kept_code(folder / CODE_FOLDER, hashlib.sha256(content).hexdigest())
        task = find_task(use, code)
        module = task.build(schema, params)
        module.load_state_dict(load_file(str(folder / WEIGHTS_FILE)))
    module.eval()
    return LoadedModel(schema, task, module, schema.signature(), hashlib.sha256(content).hexdigest())


def load_profile(source: str) -> Profile:
    """The reference profile of an artifact in a folder or at a URI. Raises NotFound."""
    with tempfile.TemporaryDirectory(prefix="rayloop-model-") as scratch:
        path = _local(source, Path(scratch)) / PROFILE_FILE
        if not path.exists():
            raise NotFound(f"no {PROFILE_FILE} at {source}")
        return read_profile(path.read_bytes())


def load_schema(source: str) -> Schema:
    """The schema of an artifact, without its weights. Raises NotFound."""
    with tempfile.TemporaryDirectory(prefix="rayloop-model-") as scratch:
        model = json.loads((_local(source, Path(scratch)) / MODEL_FILE).read_bytes())
    return Schema.from_dict(model["schema"])


def _local(source: str, scratch: Path) -> Path:
    if "://" not in source or source.startswith("file://"):
        folder = Path(source.removeprefix("file://"))
    else:
        fs.copy_files(source, str(scratch))
        folder = scratch
    if not (folder / MODEL_FILE).exists():
        raise NotFound(f"no rayloop model at {source}")
    return folder


def _kept_code(folder: Path, digest: str) -> Path | None:
    """The artifact's code in a folder that outlives the load: modules may import more later."""
    if not folder.exists():
        return None
    kept = Path(tempfile.gettempdir()) / f"rayloop-code-{digest[:16]}"
    if _is_copy(kept, folder):
        return kept
    scratch = Path(tempfile.mkdtemp(prefix="rayloop-code-"))
    shutil.copytree(folder, scratch, dirs_exist_ok=True)
    try:
        scratch.rename(kept)
    except OSError:
        if not _is_copy(kept, folder):  # swept by a cleaner of old files, or put there by somebody else
            return scratch
        shutil.rmtree(scratch)  # another process was first with the same bytes
    return kept


def _is_copy(kept: Path, folder: Path) -> bool:
    """True where `kept` is ours and holds the same files: anybody may write to the machine's temporary folder."""
    return kept.is_dir() and kept.stat().st_uid == os.getuid() and _hashes(kept) == _hashes(folder)


def _hashes(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths if "__pycache__" not in path.parts}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if name != MODEL_FILE}
