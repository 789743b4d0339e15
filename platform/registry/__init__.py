"""MLflow as rayloop uses it: runs with their metrics, registered versions, and the champion alias."""

from .environment import compare_locks, environment_lock
from .registry import ModelVersion, Registry
from .tracker import Tracker

__all__ = ["ModelVersion", "Registry", "Tracker", "compare_locks", "environment_lock"]
