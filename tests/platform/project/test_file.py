"""Every fault in a project file is one sentence with line, key, value and rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.project import FILE_NAME, find_project, load_project, parse_project, template

HEAD = "name: churn\ndata: {source: a.csv, target: label}\n"


def sentence(text: str) -> str:
    with pytest.raises(InvalidInput) as error:
        parse_project(text)
    return str(error.value)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("train: {epoch: 3}", "line 3: unknown key 'train.epoch'; did you mean 'epochs'?"),
        ("train:\n  seed: 1\n  epoch: 3", "line 5: unknown key 'train.epoch'; did you mean 'epochs'?"),
        (
            "serve: {canary: {zzz: 3}}",
            "line 3: unknown key 'serve.canary.zzz'; known keys: share, min_requests, max_error_increase, deadline_s",
        ),
        (
            "validate:\n  gates:\n    - {metric: auc, min: 0.5}\n    - {metric: f1, mni: 1}",
            "line 6: unknown key 'validate.gates.1.mni'; did you mean 'min'?",
        ),
        (
            "train: {epochs: zero}",
            "line 3: train.epochs = 'zero': input should be a valid integer, unable to parse string as an integer",
        ),
        ("train:\n  gpu:\n    5", "line 4: train.gpu = 5: input should be a valid boolean, unable to interpret input"),
        ("train:\n  epochs: 0", "line 4: train.epochs = 0: input should be greater than or equal to 1"),
        ("train: {precision: fp8}", "line 3: train.precision = 'fp8': input should be 'fp32', 'bf16' or 'fp16'"),
        ("train: 5", "line 3: train = 5: it must hold keys and values"),
        (
            "serve:\n  replicas: 2\n  autoscale: {max: 3}",
            "line 4: serve.replicas: cannot be set beside serve.autoscale: keep one of the two",
        ),
        ("serve: {autoscale: {min: 9}}", "line 3: serve.autoscale.min: 9 is above max 8"),
        (
            "serve: {autoscale: {target: 3}}",
            "line 3: unknown key 'serve.autoscale.target'; did you mean 'target_ongoing'?",
        ),
        ("serve: {replicas: 1001}", "line 3: serve.replicas = 1001: input should be less than or equal to 1000"),
        ("serve: {gpus: 1.5}", "line 3: serve.gpus: 1.5 must be a whole number, or a fraction below 1"),
        ("serve: {cuda_graphs: true}", "line 3: serve.cuda_graphs: true needs a GPU: set serve.gpus above 0"),
        ("serve: {capture: {sample: 2}}", "line 3: serve.capture.sample = 2: input should be less than or equal to 1"),
        ("serve: {max_queue: 0}", "line 3: serve.max_queue = 0: input should be greater than or equal to 1"),
        ("task:", "line 3: task = None: it must hold keys and values"),
        (
            "serve: {canary: {deadline_s: .inf}}",
            "line 3: serve.canary.deadline_s = inf: input should be a finite number",
        ),
        ("monitor: {limits: {ks: .nan}}", "line 3: monitor.limits.ks = nan: input should be a finite number"),
        ("serve: {endpoint: a--b}", "line 3: serve.endpoint = 'a--b': must not hold --"),
        (
            "validate:\n  gates:\n    - {metric: rmse, max: 1}",
            "line 5: validate.gates.0.metric: 'rmse' is not a metric of classification: "
            "accuracy, precision, recall, f1, auc, log_loss",
        ),
        (
            "task: {kind: regression}\nvalidate: {metric: f1}",
            "line 4: validate.metric: 'f1' is not a metric of regression: mae, mse, rmse, r2, pinball, coverage",
        ),
        (
            "validate: {gates: [{metric: f1}]}",
            "line 3: validate.gates.0: gate on f1 sets none of min, max, max_loss_to_champion",
        ),
        (
            "search: {space: {lr: {loguniform: [0.1, 0.01]}}}",
            "line 3: search.space.lr.loguniform: [0.1, 0.01] must be two numbers, the lower first",
        ),
        (
            "search: {space: {lr: {loguniform: [0, 0.01]}}}",
            "line 3: search.space.lr.loguniform: [0, 0.01] must lie above 0",
        ),
        ("search: {space: {n: {int: [1, 2.5]}}}", "line 3: search.space.n.int: [1, 2.5] must be whole numbers"),
        (
            "search: {space: {n: {uniform: [1, 2, 3]}}}",
            "line 3: search.space.n.uniform: [1, 2, 3] must be two numbers, the lower first",
        ),
        (
            "search: {space: {n: {uniform: [true, 2]}}}",
            "line 3: search.space.n.uniform: [True, 2] must be two numbers, the lower first",
        ),
        ("search:\n  space:\n    n: {choice: []}", "line 5: search.space.n.choice: must not be empty"),
        (
            "search: {space: {n: {}}}",
            "line 3: search.space.n: must hold exactly one of choice, uniform, loguniform, int",
        ),
        (
            "search: {space: {n: {normal: [1, 2]}}}",
            "line 3: unknown key 'search.space.n.normal'; did you mean 'uniform'?",
        ),
    ],
)
def test_a_fault_is_one_sentence(section: str, expected: str) -> None:
    assert sentence(HEAD + section) == f"{FILE_NAME} {expected}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{source: a.csv}", "line 2: the key 'data.target' is missing"),
        (
            "{source: a.csv, target: y, split: {validation: 0.5, test: 0.5}}",
            "line 2: data.split: validation 0.5 and test 0.5 must leave rows to train on: their sum must be below 1",
        ),
        (
            "{source: a.csv, target: y, split: {test: 0}}",
            "line 2: data.split.test = 0: input should be greater than 0",
        ),
        (
            "\n  source: a.csv\n  target: y\n  split:\n    by: time",
            "line 6: data.split.by: is 'time', so data.time must name a column",
        ),
        (
            "\n  source: a.csv\n  target: y\n  ignore: [y]",
            "line 4: data.target: 'y' cannot also be key, time, sensitive or ignored",
        ),
    ],
)
def test_a_fault_in_the_data_section_is_one_sentence(data: str, expected: str) -> None:
    assert sentence(f"name: churn\ndata: {data}") == f"{FILE_NAME} {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file must hold keys and values, such as `name: churn`"),
        ("- name", "the file must hold keys and values, such as `name: churn`"),
        ("name: churn", "the key 'data' is missing"),
        ("data: {source: a, target: b}", "the key 'name' is missing"),
        ("1: 2", "the key 'name' is missing (and 2 more)"),
        ("name: \x00", "not YAML: unacceptable character #x0000: special characters are not allowed"),
        ("name: 2026-13-45", "not YAML: month must be in 1..12"),
    ],
)
def test_a_fault_of_the_whole_file_is_one_sentence(text: str, expected: str) -> None:
    assert sentence(text) == f"{FILE_NAME}: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\n\tx: 1", "line 2: not YAML: "),
        ("name: a\ndata: {", "line 2: not YAML: "),
        ("name: a: b", "line 1: not YAML: mapping values are not allowed here"),
        ("name: !!python/object:os.system {}", "line 1: not YAML: could not determine a constructor for the tag"),
        ("name: *nobody", "line 1: not YAML: found undefined alias"),
        ("? {a: b}\n: c", "line 1: not YAML: found unhashable key"),
    ],
)
def test_bad_yaml_is_named_with_its_line(text: str, expected: str) -> None:
    found = sentence(text)
    assert found.startswith(f"{FILE_NAME} {expected}")
    assert "\n" not in found


def test_the_first_fault_counts_the_others() -> None:
    assert sentence(HEAD + "zzz: 1\nyyy: 2").endswith("(and 1 more)")


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 65, "a--b", "7", "true", "2026-01-01"])
def test_bad_names_are_refused(name: str) -> None:
    assert sentence(f"name: {name}\ndata: {{source: a, target: b}}").startswith(f"{FILE_NAME} line 1: name = ")


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "1.0e-4", "+1e-4", "0.0001"])
def test_numbers_are_read_as_people_write_them(written: str) -> None:
    project = parse_project(HEAD + f"search: {{space: {{lr: {{loguniform: [{written}, 1e-2]}}}}}}")
    assert project.search.space["lr"].loguniform == [1e-4, 1e-2]


@given(st.text(alphabet="nadt: {}[],-'\"&*!|\n\t0.e", max_size=40))
def test_any_text_is_a_project_or_one_sentence(text: str) -> None:
    try:
        parse_project(text)
    except InvalidInput as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - most texts are no project, a few may be


def test_a_relative_source_becomes_absolute(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(template("churn", source="rows/a.csv"))
    assert load_project(path).data.source == str(tmp_path / "rows/a.csv")


@pytest.mark.parametrize("source", ["/data/a.parquet", "s3://bucket/a.parquet"])
def test_other_sources_stay(tmp_path: Path, source: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(template("churn", source=source))
    assert load_project(path).data.source == source


def test_unreadable_files_are_one_sentence(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: café".encode("latin-1"))
    for path, reason in [
        (latin, "it is not UTF-8 text"),
        (tmp_path, "is a directory"),
        (tmp_path / "none.yaml", "no such file or directory"),
    ]:
        with pytest.raises(InvalidInput) as error:
            load_project(path)
        assert str(error.value) == f"cannot read {path}: {reason}"


def test_text_is_utf_8_in_any_locale(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(template("churn", target="größe").encode())
    assert load_project(path).data.target == "größe"


def test_a_project_is_found_by_file_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / FILE_NAME
    with pytest.raises(NotFound, match="`rayloop init` writes one"):
        find_project(tmp_path)
    path.write_text(template("churn"))
    monkeypatch.chdir(tmp_path)
    assert find_project() == find_project(tmp_path) == find_project(Path(FILE_NAME)) == path


def test_the_template_is_yaml_that_a_plain_reader_agrees_on() -> None:
    assert yaml.safe_load(template("churn"))["train"]["learning_rate"] == 0.001
