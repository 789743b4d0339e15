"""A training's state to and from checkpoints: gathered on the training's thread, written beside it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .checkpoint import Background, Checkpoints, File
from .loop import Training
from .plan import Place

STATE_FILE = "state.pt"
SHARDS = "shards"  # the folder of torch.distributed.checkpoint's files


class Saver:
    """Writes and reads the checkpoints of one rank; all ranks call each method at the same step."""

    def __init__(
        self, checkpoints: Checkpoints, place: Place, strategy: str, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._checkpoints, self._place, self._say = checkpoints, place, say
        # Also of one process: a later try may have more, and finds the parts as it needs them.
        self._is_parted = strategy == "fsdp"
        self._background = Background()

    @property
    def is_busy(self) -> bool:
        """True while this rank still writes."""
        return self._background.is_busy

    def save(self, training: Training, *, is_last: bool = False, wait: bool = False) -> None:
        """Take the state of this step, and write it on another thread; `wait` returns when it is written.

        Raises Unavailable where the write before this one failed.
        """
        progress = training.progress()
        progress["losses"] = self._all_losses(progress["losses"][0])
        name = f"{training.epoch:06d}-{training.step:09d}"
        about = {"epoch": training.epoch, "step": training.step, "is_last": is_last, "world": self._place.world}
        if self._is_parted:
            self._save_shards(training, name, progress, about)
            return
        if self._place.rank == 0:
            state = {**_host_copy(training.tensors()), **_on_host(progress)}
            self._background.start(lambda: self._write(name, {STATE_FILE: _to_bytes(state)}, about))
            if wait or is_last:
                self._background.wait()

    def restore(self, training: Training) -> bool:
        """Go on from the newest whole checkpoint; false where there is none."""
        found = self._checkpoints.latest(self._say if self._place.rank == 0 else lambda _: None)
        name = self._agreed(None if found is None else found[0].name)
        if name is None or found is None:
            return False
        if found[0].name != name:  # another rank looked at another moment
            raise RuntimeError(f"rank {self._place.rank} found checkpoint {found[0].name}, rank 0 found {name}")
        state = torch.load(io.BytesIO(found[1][STATE_FILE]), map_location=self._place.device, weights_only=True)
        if not self._is_parted:
            training.restore(state)
            return True
        with tempfile.TemporaryDirectory(prefix="rayloop-shards-") as folder:
            for file, content in found[1].items():
                if file.startswith(f"{SHARDS}/"):
                    (Path(folder) / file.partition("/")[2]).write_bytes(content)
            _load_shards(training, folder)
        training.restore_progress(state)
        return True

    def wait(self) -> None:
        """Return when all is written. Raises Unavailable where that failed."""
        self._background.wait()

    def _write(self, name: str, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
        self._checkpoints.write(name, files, about)

    def _save_shards(self, training: Training, name: str, progress: dict[str, Any], about: dict[str, Any]) -> None:
        """Each rank writes its own parts; rank 0 adds the manifest when all have told what they wrote."""
        from torch.distributed.checkpoint import state_dict_saver  # its import takes a second

        if self._place.rank == 0:
            self._checkpoints.begin(name)
        if self._place.world > 1:
            dist.barrier()
        with tempfile.TemporaryDirectory(prefix="rayloop-shards-") as folder:
            state_dict_saver.save(_shards(training), checkpoint_id=folder, no_dist=self._place.world == 1)
            wrote = [
                self._checkpoints.add(name, f"{SHARDS}/{path.name}", path.read_bytes())
                for path in sorted(Path(folder).iterdir())
            ]
        every: list[list[File]] = [wrote]
        if self._place.world > 1:
            every = [[] for _ in range(self._place.world)]
            dist.all_gather_object(every, wrote)
        if self._place.rank == 0:
            every[0].append(self._checkpoints.add(name, STATE_FILE, _to_bytes(_on_host(progress))))
            self._checkpoints.end(name, [file for rank in every for file in rank], about)

    def _all_losses(self, own: float) -> list[float]:
        if self._place.world == 1:
            return [own]
        told = torch.zeros(self._place.world, dtype=torch.float64, device=self._place.device)
        told[self._place.rank] = own
        dist.all_reduce(told)
        losses: list[float] = told.tolist()
        return losses

    def _agreed(self, name: str | None) -> str | None:
        if self._place.world == 1:
            return name
        told = [name]
        dist.broadcast_object_list(told, src=0)
        return told[0]


def _shards(training: Training) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    module, optimizer = get_state_dict(training.module, training.optimizer.torch)
    return {"module": module, "optimizer": optimizer, "average": training.tensors()["average"]}


def _load_shards(training: Training, folder: str) -> None:
    """Parts that any number of ranks wrote, into the parts of this number of ranks."""
    from torch.distributed.checkpoint import state_dict_loader
    from torch.distributed.checkpoint.state_dict import set_state_dict

    state = _shards(training)
    state_dict_loader.load(state, checkpoint_id=folder, no_dist=not dist.is_initialized())
    set_state_dict(
        training.module,
        training.optimizer.torch,
        model_state_dict=state["module"],
        optim_state_dict=state["optimizer"],
    )
    if training.average is not None:
        training.average.restore(state["average"])


def _on_host(progress: Mapping[str, Any]) -> dict[str, Any]:
    """A progress that later steps don't change; the best weights are never written to, so they are not copied."""
    best = {name: tensor.cpu() for name, tensor in progress["best"].items()}
    return {**progress, "history": list(progress["history"]), "best": best}


def _host_copy(value: Any) -> Any:
    """The same on the host, in memory that the training won't write to."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _host_copy(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_host_copy(entry) for entry in value)
    return value


def _to_bytes(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
