"""The project file `rayloop.yaml`: one prediction problem, described once."""

from .file import FILE_NAME, find_project, load_project, parse_project
from .schema import (
    DataConfig,
    Gate,
    MonitorConfig,
    Project,
    RetrainConfig,
    ServeConfig,
    SplitConfig,
    TaskConfig,
    ValidateConfig,
)
from .search import SearchConfig
from .serving import MOST_REPLICAS, AutoscaleConfig, CaptureConfig
from .template import json_schema, template
from .training import TrainConfig

__all__ = [
    "FILE_NAME",
    "MOST_REPLICAS",
    "AutoscaleConfig",
    "CaptureConfig",
    "DataConfig",
    "Gate",
    "MonitorConfig",
    "Project",
    "RetrainConfig",
    "SearchConfig",
    "ServeConfig",
    "SplitConfig",
    "TaskConfig",
    "TrainConfig",
    "ValidateConfig",
    "find_project",
    "json_schema",
    "load_project",
    "parse_project",
    "template",
]
