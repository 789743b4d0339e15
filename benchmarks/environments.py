"""Makes the virtual environments of what rayloop is compared with; the pins are here and nowhere else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".benchmarks"
INSTALL_TIMEOUT_S = 900

# NumPy computes the model for the servers: torch would be a gigabyte more, and the slower of the two for one row.
PINS: Mapping[str, Sequence[str]] = {
    "mlserver": ("mlserver>=1.7,<1.8", "numpy>=2.0,<3", "safetensors>=0.5,<1"),
    "evidently": ("evidently>=0.7.23,<0.8", "pandas>=2.2,<3", "pyarrow>=19,<26"),
    "bentoml": ("bentoml>=1.4,<1.5", "numpy>=2.0,<3", "safetensors>=0.5,<1"),
    "lightning": ("lightning>=2.5,<3", "torch>=2.9,<2.14", "numpy>=2.0,<3", "pyarrow>=19,<26"),
    "accelerate": ("accelerate>=1.10,<2", "torch>=2.9,<2.14", "numpy>=2.0,<3", "pyarrow>=19,<26"),
}


class NotInstalled(Exception):
    """An environment could not be made; the text is the installer's last line."""


def make(name: str) -> Path:
    """The folder with the programs of a peer's environment, made if it is not there. Raises NotInstalled."""
    folder = FOLDER / name
    stamp = folder / ".installed"
    wanted = hashlib.sha256("\n".join((sys.version, *PINS[name])).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder / "bin"
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", *PINS[name]])
    stamp.write_text(wanted)
    return folder / "bin"


def version(package: str, programs: Path | None = None) -> str:
    """The version of a package in a peer's environment, or in ours."""
    if programs is None:
        return importlib.metadata.version(package)
    code = f"import importlib.metadata, json; print(json.dumps(importlib.metadata.version({package!r})))"
    done = subprocess.run([str(programs / "python"), "-c", code], capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout))


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"not installed within {INSTALL_TIMEOUT_S} s") from None
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        raise NotInstalled(said[-1] if said else f"the installer ended with {done.returncode}")
