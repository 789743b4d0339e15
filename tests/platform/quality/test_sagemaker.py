"""SageMaker's constraints.json is read and written."""

import json

import numpy as np
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.quality import check, from_sagemaker, infer_constraints, to_sagemaker
from rayloop.platform.stats import profile

FILE = {
    "version": 0.0,
    "features": [
        {
            "name": "age",
            "inferred_type": "Integral",
            "completeness": 1.0,
            "num_constraints": {"is_non_negative": True},
        },
        {
            "name": "score",
            "inferred_type": "Fractional",
            "completeness": 0.75,
            "num_constraints": {"is_non_negative": False},
        },
        {
            "name": "city",
            "inferred_type": "String",
            "completeness": 1.0,
            "string_constraints": {"domains": ["Bonn", "Kiel"]},
        },
        {
            "name": "street",
            "inferred_type": "String",
            "string_constraints": {"domains": ["A"]},
            "monitoringConfigOverrides": {"domain_content_threshold": 0.5},
        },
        {
            "name": "other",
            "inferred_type": "Unknown",
            "monitoringConfigOverrides": {"evaluate_constraints": "Disabled"},
        },
    ],
    "monitoring_config": {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 0.9,
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": 0.1,
            "comparison_method": "Robust",
        },
    },
}


def test_import() -> None:
    rules = from_sagemaker(json.dumps(FILE))
    age, score, city, street, other = rules.columns.values()
    assert (age.type, age.max_null_share, age.max_negative_share) == ("integral", 0.0, 0.0)
    assert (score.type, score.max_null_share, score.max_negative_share) == ("fractional", 0.25, None)
    assert (city.domain, city.max_unknown_share) == (("Bonn", "Kiel"), 0.1)
    assert (street.max_null_share, street.max_unknown_share) == (None, 0.5)
    assert other.type is None


def test_what_is_imported_is_checked() -> None:
    sound = {
        "age": [30, 40] * 50,
        "score": [0.5, None] * 10 + [0.1] * 80,
        "city": ["Bonn"] * 96 + ["Rom"] * 4,
        "street": ["A"] * 100,
        "other": ["x"] * 100,
    }
    rules = from_sagemaker(json.dumps(FILE))
    assert check(profile(sound), rules) == ()
    broken = sound | {"age": [30, None] + [-1, 5] * 49, "city": ["Rom"] * 100}
    found = check(profile(broken), rules)
    assert [(anomaly.code, anomaly.column) for anomaly in found] == [
        ("NULLS_ABOVE_REFERENCE", "age"),
        ("VALUE_NEGATIVE", "age"),
        ("CATEGORY_UNKNOWN", "city"),
    ]
    assert [anomaly.severity for anomaly in found] == ["error", "error", "warning"]


def test_export_and_back() -> None:
    rng = np.random.default_rng(0)
    table = {
        "age": rng.integers(0, 90, 1_000),
        "shift": rng.normal(size=1_000),
        "city": rng.choice(["Bonn", "Kiel"], 1_000),
        "flag": rng.uniform(size=1_000) < 0.5,
        "at": rng.integers(0, 10**9, 1_000).astype("M8[s]"),
    }
    rules = infer_constraints(profile(table))
    written = json.loads(to_sagemaker(rules))
    types = {feature["name"]: feature["inferred_type"] for feature in written["features"]}
    assert types == {"age": "Integral", "shift": "Fractional", "city": "String", "flag": "String", "at": "Unknown"}
    assert written["features"][0]["num_constraints"] == {"is_non_negative": True}
    assert written["features"][1]["num_constraints"] == {"is_non_negative": False}
    assert sorted(written["features"][2]["string_constraints"]["domains"]) == ["Bonn", "Kiel"]
    assert written["monitoring_config"].keys() == FILE["monitoring_config"].keys()  # type: ignore[attr-defined]
    again = from_sagemaker(to_sagemaker(rules))
    for name in ("age", "shift", "city"):
        assert again.columns[name].type == rules.columns[name].type
        assert again.columns[name].max_null_share == pytest.approx(rules.columns[name].max_null_share)
        assert again.columns[name].domain == rules.columns[name].domain
        assert again.columns[name].max_unknown_share == pytest.approx(rules.columns[name].max_unknown_share)
    assert to_sagemaker(from_sagemaker(json.dumps(FILE))).count('"domains"') == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "this is not a constraints.json"),
        ("[]", "this is not a constraints.json"),
        ("{}", "this is not a constraints.json"),
        ('{"features": [{}]}', "this is not a constraints.json"),
        (json.dumps(FILE | {"monitoring_config": {"evaluate_constraints": "Disabled"}}), "are not to be evaluated"),
        ('{"features": [{"name": "x", "inferred_type": "Blob"}]}', "feature 'x': inferred_type is 'Blob'"),
        ('{"features": [{"name": "x", "completeness": 7}]}', "feature 'x': max_null_share is -6"),
    ],
)
def test_other_files_are_refused(content: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        from_sagemaker(content)
