"""Data quality: constraints inferred from a reference, and named anomalies of what breaks them."""

from .anomaly import CODES, Anomaly, Code, Severity, has_error
from .chance import CHANCE, is_above, upper_share
from .check import check, window_anomalies
from .constraints import ColumnConstraints, Constraints
from .infer import infer_column, infer_constraints
from .sagemaker import from_sagemaker, to_sagemaker
from .schema import check_schema, countable_columns

__all__ = [
    "CHANCE",
    "CODES",
    "Anomaly",
    "Code",
    "ColumnConstraints",
    "Constraints",
    "Severity",
    "check",
    "check_schema",
    "countable_columns",
    "from_sagemaker",
    "has_error",
    "infer_column",
    "infer_constraints",
    "is_above",
    "to_sagemaker",
    "upper_share",
    "window_anomalies",
]
