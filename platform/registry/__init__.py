"""MLflow as rayloop uses it: runs with their metrics, registered versions, and the champion alias."""

from .registry import ModelVersion, Registry
from .tracker import Tracker, environment_lock

__all__ = ["ModelVersion", "Registry", "Tracker", "environment_lock"]
