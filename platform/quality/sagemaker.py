"""Owns SageMaker Model Monitor's `constraints.json`: reads it into constraints, and writes it from them.

What it cannot say (ranges, keys, time zones) is not written; its drift thresholds are not read, since drift has limits
of its own. `domain_content_threshold` is taken as the share of texts that must be known, as in the files that its
baseline job writes (1.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput
from ..stats.columns import Type
from .constraints import ColumnConstraints, Constraints

_TYPES: dict[str, Type | None] = {
    "Integral": "integral",
    "Fractional": "fractional",
    "String": "string",
    "Unknown": None,
}
_NAMES: dict[Type, str] = {"integral": "Integral", "fractional": "Fractional", "string": "String", "boolean": "String"}


def from_sagemaker(content: str | bytes) -> Constraints:
    """Read a `constraints.json`; its rules are shares without room, so completeness 1.0 allows no null at all.

    Raises InvalidInput where it is none, or says that it is not to be evaluated.
    """
    try:
        values = json.loads(content)
        features = {feature["name"]: feature for feature in values["features"]}
        config = values.get("monitoring_config") or {}
        if config.get("evaluate_constraints", "Enabled") != "Enabled":
            raise InvalidInput("the file says that its constraints are not to be evaluated: evaluate_constraints")
        return Constraints({name: _column(feature, config) for name, feature in features.items()})
    except InvalidInput:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"this is not a constraints.json of SageMaker: {error!r}") from None


def _column(feature: Mapping[str, Any], config: Mapping[str, Any]) -> ColumnConstraints:
    config = {**config, **(feature.get("monitoringConfigOverrides") or {})}
    name, inferred = feature["name"], feature.get("inferred_type", "Unknown")
    if inferred not in _TYPES:
        raise InvalidInput(f"feature {name!r}: inferred_type is {inferred!r}, but must be one of {', '.join(_TYPES)}")
    if config.get("evaluate_constraints", "Enabled") != "Enabled":
        return ColumnConstraints()
    domain = (feature.get("string_constraints") or {}).get("domains")
    is_non_negative = (feature.get("num_constraints") or {}).get("is_non_negative", False)
    try:
        return ColumnConstraints(
            type=_TYPES[inferred],
            max_null_share=None if feature.get("completeness") is None else _rest(feature["completeness"]),
            max_negative_share=0.0 if is_non_negative else None,
            domain=None if domain is None else tuple(domain),
            max_unknown_share=None if domain is None else _rest(config.get("domain_content_threshold", 1.0)),
        )
    except InvalidInput as error:
        raise InvalidInput(f"feature {name!r}: {error}") from None


def _rest(share: float) -> float:
    """What is left of 1, without the digits that a subtraction makes up."""
    return round(1 - share, 12)


def to_sagemaker(constraints: Constraints) -> str:
    """Write a `constraints.json`."""
    values = {
        "version": 0.0,
        "features": [_feature(name, column) for name, column in constraints.columns.items()],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1.0,
            "domain_content_threshold": 1.0,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": 0.1,
                "comparison_method": "Robust",
            },
        },
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _feature(name: str, column: ColumnConstraints) -> dict[str, Any]:
    inferred = "Unknown" if column.type is None else _NAMES.get(column.type, "Unknown")
    found: dict[str, Any] = {"name": name, "inferred_type": inferred}
    if column.max_null_share is not None:
        found["completeness"] = _rest(column.max_null_share)
    if inferred in ("Integral", "Fractional"):
        found["num_constraints"] = {"is_non_negative": column.max_negative_share is not None}
    if column.domain is not None:
        found["string_constraints"] = {"domains": list(column.domain)}
        if column.max_unknown_share:
            found["monitoringConfigOverrides"] = {"domain_content_threshold": _rest(column.max_unknown_share)}
    return found
