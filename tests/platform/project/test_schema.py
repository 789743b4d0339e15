"""The project is frozen, its defaults hold, and editors get a JSON Schema that agrees with the reader."""

from __future__ import annotations

import pickle
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError
from rayloop.platform import project
from rayloop.platform.errors import InvalidInput
from rayloop.platform.project import Project, json_schema, parse_project, template
from rayloop.platform.project.schema import METRICS
from rayloop.platform.traffic import Sticky


def test_public_names_exist() -> None:
    assert [name for name in project.__all__ if not hasattr(project, name)] == []
    assert len(set(project.__all__)) == len(project.__all__)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_template_passes_and_shows_the_defaults(kind: str) -> None:
    made = parse_project(template("churn", "data.csv", "left", kind))
    bare = parse_project(f"name: churn\ndata: {{source: data.csv, target: left}}\ntask: {{kind: {kind}}}")
    assert (made.data, made.train, made.serve, made.monitor, made.retrain) == (
        bare.data,
        bare.train,
        bare.serve,
        bare.monitor,
        bare.retrain,
    )
    assert made.task.kind == kind
    assert made.metric == {"classification": "accuracy", "regression": "rmse"}[kind]
    assert made.endpoint == "churn"


@pytest.mark.parametrize(
    "odd", ["123", "yes", "null", "a: b", "a #b", "[x]", "- x", "'", '"', " x", "é", "1e5", "*x", "{y}"]
)
def test_the_template_keeps_odd_texts(odd: str) -> None:
    made = parse_project(template("churn", source=odd, target=odd))
    assert (made.data.source, made.data.target) == (odd, odd)


def test_the_template_keeps_a_name_of_digits() -> None:
    assert parse_project(template("2026")).name == "2026"


@pytest.mark.parametrize("path", ["name", "data.target", "data.split.test", "train.epochs", "serve.canary.share"])
def test_every_section_is_frozen(path: str) -> None:
    section: Any = parse_project(template("churn"))
    *parents, name = path.split(".")
    for parent in parents:
        section = getattr(section, parent)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(section, name, getattr(section, name))


def test_a_project_survives_json_and_pickle() -> None:
    made = parse_project(template("churn"))
    assert Project.model_validate(made.model_dump(mode="json", by_alias=True)) == made
    assert pickle.loads(pickle.dumps(made)) == made


def test_a_version_scales_by_a_number_or_by_its_load() -> None:
    head = "name: churn\ndata: {source: a, target: y}\n"
    fixed = parse_project(head + "serve: {replicas: 3, gpus: 0.25}").serve
    assert (fixed.replicas, fixed.autoscale, fixed.gpus) == (3, None, 0.25)
    assert parse_project(head + "serve: {gpus: 2}").serve.gpus == 2
    made = parse_project(head + "serve: {autoscale: {min: 0, max: 4}}")
    assert made.serve.replicas is None
    assert made.serve.autoscale == project.AutoscaleConfig(min=0, max=4)
    # As it comes back from the database, with every key.
    assert Project.model_validate(made.model_dump(mode="json", by_alias=True)) == made


def test_not_features_are_the_named_columns() -> None:
    data = {"source": "a", "target": "y", "key": "id", "time": "at", "sensitive": ["sex"], "ignore": ["note"]}
    made = Project.model_validate({"name": "churn", "data": data})
    assert made.data.not_features == {"y", "id", "at", "sex", "note"}


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("metric", [metric for metrics in METRICS.values() for metric in metrics])
def test_a_metric_must_fit_the_task(kind: str, metric: str) -> None:
    text = f"name: a\ndata: {{source: a, target: b}}\ntask: {{kind: {kind}}}\nvalidate: {{metric: {metric}}}"
    if kind == "regression" and metric == "coverage":
        with pytest.raises(InvalidInput, match="'coverage' ranks nothing: more of it is not better; use pinball"):
            parse_project(text)
    elif metric in METRICS[kind]:
        assert parse_project(text).metric == metric
    else:
        with pytest.raises(InvalidInput, match=f"{metric!r} is not a metric of {kind}"):
            parse_project(text)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_json_schema_accepts_the_template(kind: str) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(template("churn", kind=kind)), schema)
    assert schema["title"] == "rayloop project"


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (None, {"trian": {}}),
        ("train", {"epoch": 3}),
        ("train", {"epochs": 0}),
        ("data", {"source": "a"}),
        ("validate", {"gates": [{"metric": "acc"}]}),
        ("validate_", {}),
    ],
)
def test_the_json_schema_refuses_what_the_reader_refuses(section: str | None, values: dict[str, Any]) -> None:
    content = yaml.safe_load(template("churn"))
    content |= values if section is None else {section: values}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, json_schema())
    with pytest.raises(InvalidInput):
        parse_project(yaml.safe_dump(content))


def test_a_client_is_kept_by_a_header_or_a_cookie() -> None:
    data = {"source": "a.csv", "target": "y"}
    assert Project.model_validate({"name": "a", "data": data}).serve.sticky.sticky() == Sticky("header", "x-session-id")
    for named, sticky in [
        ({"header": "X-User-Id"}, Sticky("header", "x-user-id")),
        ({"cookie": "uid"}, Sticky("cookie", "uid")),
    ]:
        made = Project.model_validate({"name": "a", "data": data, "serve": {"sticky": named}})
        assert made.serve.sticky.sticky() == sticky
        assert Project.model_validate(made.model_dump(mode="json", by_alias=True)) == made


@pytest.mark.parametrize(
    ("named", "rule"),
    [
        ("{}", "serve.sticky"),
        ("{header: a, cookie: b}", "either a header or a cookie"),
        ("{header: x-rayloop-bucket}", "must not be authorization or begin with x-rayloop-"),
        ("{header: authorization}", "must not be authorization"),
        ("{cookie: 'a b'}", "sticky cookie 'a b' must be"),
    ],
)
def test_a_sticky_name_that_is_none_is_refused(named: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_project(f"name: a\ndata: {{source: a.csv, target: y}}\nserve: {{sticky: {named}}}")
    assert rule in str(error.value)
    assert "\n" not in str(error.value)
