"""The command line without a cluster: what it answers, and that every refusal is one sentence and leaves nothing."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from rayloop.cli import main
from rayloop.cluster import free_port, processes
from rayloop.jobs import services
from rayloop.platform.errors import Unavailable
from rayloop.platform.project import FILE_NAME
from rayloop.platform.settings import CLUSTER_FILE, Settings
from rayloop.platform.workspace import Workspace

SHADOW_VERBS = (("shadow", "nope", "2"), ("shadow-report", "nope"))
NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens there
PORT_SETTINGS = ("edge", "mlflow", "dashboard", "serve")


def rayloop(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="rayloop")


def run(*arguments: str) -> str:
    """What a command that succeeds prints."""
    result = rayloop(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def refuse(code: int, *arguments: str) -> str:
    """The one sentence of a command that fails on purpose, without the `error: ` before it."""
    result = rayloop(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in line
    return line.removeprefix("error: ")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty working folder; nothing here may start a process of a cluster."""
    found = tmp_path / "work"
    found.mkdir()
    monkeypatch.chdir(found)
    monkeypatch.setattr(processes, "spawn", _never)
    return found


def _never(*_arguments: Any, **_options: Any) -> NoReturn:
    raise AssertionError("a test of the command line must not start Ray")


@pytest.fixture
def project(folder: Path) -> Path:
    """A sound project in the working folder; returns its file."""
    write_rows(folder / "data.parquet")
    run("init", "toy")
    return folder / FILE_NAME


def write_rows(path: Path, rows: int = 200, seed: int = 0, **columns: Any) -> None:
    random = np.random.default_rng(seed)
    own = {"a": random.normal(size=rows), "b": random.normal(size=rows), "label": random.integers(0, 2, rows)}
    pq.write_table(pa.table({**own, **columns}), path)


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_nothing_kept(home: Path) -> None:
    """No object, snapshot or code in the store, and no row about a project."""
    assert files_in(home / "store") == []
    if home.exists():
        with_database = Workspace(Settings.load({}, home=home))
        assert with_database.projects.snapshots("toy") == []
        assert with_database.ledger.entries() == []
        with_database.close()


def test_help_names_the_verbs() -> None:
    printed = run("--help")
    assert "demo" in printed
    assert "rollback" in printed
    assert run("--version").startswith("rayloop")


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_new_project_passes_its_check(folder: Path, own_home: Path, kind: str) -> None:
    write_rows(folder / "rows.parquet", target=np.arange(200))
    printed = run("init", "toy", "--source", "rows.parquet", "--target", "target", "--kind", kind)
    assert "rayloop check" in printed
    assert files_in(folder) == ["rayloop.schema.json", FILE_NAME, "rows.parquet"]
    assert run("check") == f"{FILE_NAME} is sound: 200 rows, target 'target', {kind}\n"
    assert not own_home.exists()
    assert json.loads((folder / "rayloop.schema.json").read_text()) == json.loads(run("check", "--schema"))


def test_data_is_added_once(project: Path, own_home: Path) -> None:
    first = run("data", "add")
    assert first.startswith("new snapshot ")
    assert first.endswith(": 200 rows in 1 file(s)\n")
    assert run("data", "add") == first.replace("new", "known")
    assert len(run("data", "list").splitlines()) == 2
    assert len(list((own_home / "store/snapshots").iterdir())) == 1


def test_the_ledger_is_shown_and_verified(project: Path, own_home: Path) -> None:
    run("data", "add")
    assert run("retrain", "toy", "--no-wait").startswith("pipeline run toy-")
    assert "pending" in run("pipeline", "list")
    assert "trigger" in run("ledger", "show")
    assert run("ledger", "verify").startswith("1 entries, unchanged")
    workspace = Workspace(Settings.load())
    with workspace.database.transaction() as connection:
        connection.exec_driver_sql("update ledger set actor = 'someone else'")
    workspace.close()
    assert "entry 1 of 1" in refuse(2, "ledger", "verify")


def test_init_writes_over_nothing(project: Path) -> None:
    before = project.read_text()
    assert FILE_NAME in refuse(2, "init", "other")
    assert project.read_text() == before


@pytest.mark.parametrize("name", ["", "a b", "a--b", "../up", "x" * 65, "a: b"])
def test_init_refuses_a_name_that_is_none(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not name:  # a folder's name that cannot be a project's
        (folder / "not a name").mkdir()
        monkeypatch.chdir(folder / "not a name")
    assert refuse(2, "init", *([name] if name else []))
    assert files_in(folder) == []


@pytest.mark.parametrize("verb", [("check",), ("data", "add"), ("data", "list")])
def test_without_a_project_file_the_way_on_is_told(own_home: Path, verb: tuple[str, ...]) -> None:
    assert "rayloop init" in refuse(3, *verb)
    assert_nothing_kept(own_home)


WRONG_FILES = {
    "unknown key": (("workers:", "wokers:"), ["line ", "'train.wokers'", "did you mean 'workers'"]),
    "wrong type": (("epochs: 20", "epochs: many"), ["line ", "train.epochs", "'many'"]),
    "out of range": (("learning_rate: 0.001", "learning_rate: -1"), ["line ", "train.learning_rate", "-1"]),
    "unknown metric": (("metric: accuracy", "metric: rmse"), ["rmse", "classification"]),
    "no yaml": (("name: toy", "name: [toy"), ["line ", "not YAML"]),
    "wrong column": (("target: label", "target: lable"), ["no column 'lable'", "data.target", "did you mean 'label'"]),
    "no such file": (("source: data.parquet", "source: date.parquet"), ["no such file", "date.parquet"]),
    "no such folder": (("source: data.parquet", "source: nowhere/*.parquet"), ["no file matches", "nowhere/*.parquet"]),
}


@pytest.mark.parametrize("verb", [("check",), ("data", "add")])
@pytest.mark.parametrize("fault", WRONG_FILES)
def test_a_wrong_project_file_is_one_sentence(project: Path, own_home: Path, fault: str, verb: tuple[str, ...]) -> None:
    (before, after), words = WRONG_FILES[fault]
    change(project, before, after)
    result = rayloop(*verb)
    said = refuse(result.exit_code, *verb)
    assert result.exit_code in {2, 3}
    assert [word for word in words if word not in said] == []
    assert_no_snapshot(own_home)


def assert_no_snapshot(home: Path) -> None:
    assert [name for name in files_in(home / "store") if name.startswith(("objects/", "snapshots/"))] == []
    workspace = Workspace(Settings.load({}, home=home))
    assert workspace.projects.snapshots("toy") == []
    workspace.close()


def _no_parquet(path: Path) -> None:
    path.write_bytes(b"PAR1 this is none")


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _nan_target(path: Path) -> None:
    write_rows(path, label=np.where(np.arange(200) == 4, np.nan, 1.0))


def _null_target(path: Path) -> None:
    write_rows(path, label=pa.array([1, 0, None, 1] * 50))


def _no_rows(path: Path) -> None:
    write_rows(path, rows=0)


def _a_folder_of_nothing(path: Path) -> None:
    path.unlink()
    path.mkdir()


WRONG_SOURCES: Mapping[str, tuple[Callable[[Path], None], list[str]]] = {
    "no parquet": (_no_parquet, ["cannot read", "not a Parquet file"]),
    "cut off": (_cut_off, ["cannot read", "not a Parquet file"]),
    "NaN target": (_nan_target, ["'label'", "1 of 200 rows", "row 5"]),
    "null target": (_null_target, ["'label'", "50 of 200 rows", "row 3"]),
    "no rows": (_no_rows, ["holds no rows"]),
    "empty folder": (_a_folder_of_nothing, ["no .parquet or .csv file"]),
}


@pytest.mark.parametrize("verb", [("check",), ("data", "add")])
@pytest.mark.parametrize("fault", WRONG_SOURCES)
def test_a_wrong_source_is_one_sentence(project: Path, own_home: Path, fault: str, verb: tuple[str, ...]) -> None:
    spoil, words = WRONG_SOURCES[fault]
    spoil(project.parent / "data.parquet")
    result = rayloop(*verb)
    said = refuse(result.exit_code, *verb)
    assert [word for word in [*words, "data.parquet"] if word not in said] == []
    assert_no_snapshot(own_home)


def test_of_several_files_the_wrong_one_is_named_and_none_is_kept(project: Path, own_home: Path) -> None:
    change(project, "source: data.parquet", "source: data")
    (project.parent / "data").mkdir()
    write_rows(project.parent / "data/1.parquet")
    write_rows(project.parent / "data/2.parquet", label=pa.array([None] * 200, pa.int64()))
    assert "2.parquet" in refuse(2, "data", "add")
    assert_no_snapshot(own_home)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own query
def test_unknown_models_are_told_apart_from_known_ones(project: Path) -> None:
    assert refuse(3, "versions", "nope") == "no model 'nope' is registered"
    for verb in (
        ("deploy", "nope"),
        ("split", "nope", "1=100"),
        ("rollback", "nope"),
        ("retrain", "nope"),
        *SHADOW_VERBS,
    ):
        assert "'nope'; known: none" in refuse(3, *verb)
    run("data", "add")
    assert "'nope'; known: toy" in refuse(3, "deploy", "nope")
    assert "rayloop train" in refuse(3, "deploy", "toy")
    assert "rayloop train" in refuse(3, "validate", "toy")
    assert refuse(3, "rollback", "toy")
    assert "not deployed" in refuse(3, "undeploy", "toy", "1")
    assert "not deployed" in refuse(3, "scale-version", "toy", "1", "--replicas", "2")
    assert "from 1 to 1,000" in refuse(2, "scale-version", "toy", "1", "--replicas", "0")
    assert "no pipeline run 'nope'" in refuse(3, "pipeline", "show", "nope")


def test_a_model_by_name_is_for_an_endpoint_without_a_project(project: Path) -> None:
    run("data", "add")
    assert "'toy' is a project's" in refuse(4, "deploy", "toy", "--model", "models:/toy/1")
    assert "--cpus goes with --model" in refuse(2, "deploy", "toy", "--cpus", "2")
    assert "no gates" in refuse(2, "deploy", "iris", "--model", "models:/iris/1", "--force", "now")
    assert "models:/churn@champion" in refuse(2, "deploy", "iris", "--model", "models:/iris")
    assert "--replicas is 0" in refuse(2, "deploy", "iris", "--model", "models:/iris/1", "--replicas", "0")
    assert run("ledger", "verify").startswith("0 entries")


@pytest.mark.parametrize(
    ("shares", "code", "words"),
    [
        ((), 2, ["at least one share"]),
        (("90",), 2, ["'90'", "VERSION=PERCENT"]),
        (("1=ninety",), 2, ["'1=ninety'", "VERSION=PERCENT"]),
        (("1=-5",), 2, ["'1=-5'", "VERSION=PERCENT"]),
        (("1=90", "2=5"), 2, ["95 %", "100 %"]),
        (("1=90", "2=20"), 2, ["110 %", "100 %"]),
        (("1=50", "1=50"), 2, ["version 1 twice"]),
        (("1=100",), 4, ["version 1 is not deployed", "rayloop deploy"]),
    ],
)
def test_wrong_shares_are_one_sentence(project: Path, shares: tuple[str, ...], code: int, words: list[str]) -> None:
    run("data", "add")
    said = refuse(code, "split", "toy", *shares)
    assert [word for word in words if word not in said] == []
    assert run("ledger", "verify").startswith("0 entries")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "name at least one version, such as 4 or 4=20, or else --none"),
        (("2", "--none"), 2, "or else --none"),
        (("2=half",), 2, "share '2=half' of 'toy' must be VERSION=PERCENT"),
        (("2",), 3, "no endpoint 'toy' is served here"),
    ],
)
def test_wrong_shadows_are_one_sentence(project: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    run("data", "add")
    assert words in refuse(code, "shadow", "toy", *arguments)
    assert run("ledger", "verify").startswith("0 entries")


def test_a_report_of_a_shadow_that_captured_nothing_is_json_all_the_same(project: Path) -> None:
    run("data", "add")
    found = json.loads(run("shadow-report", "toy", "--version", "2", "--json"))
    assert (found["endpoint"], found["version"], found["rows"], found["agreement"]) == ("toy", 2, 0, None)
    assert "nothing that shadow v2 answered" in run("shadow-report", "toy", "--version", "2")


@pytest.mark.parametrize(
    "verb",
    [("status",), ("scale", "--cpus", "2"), ("logs", "job"), ("train",), ("tune",), ("up", "--attach")],
)
@pytest.mark.parametrize("address", [NOBODY, "nonsense", "http://no such host", "ray://127.0.0.1:9"])
def test_without_a_cluster_nothing_is_kept(project: Path, own_home: Path, verb: tuple[str, ...], address: str) -> None:
    said = refuse(5, "--address", address, *verb)
    assert said == f"no Ray cluster answers at {address}: `rayloop up` starts one here"
    assert_nothing_kept(own_home)


def test_drift_without_a_cluster_says_so(project: Path) -> None:
    run("data", "add")
    assert NOBODY in refuse(5, "--address", NOBODY, "drift", "toy")


@pytest.fixture
def stranger() -> Iterator[str]:
    """The address of a web server that is no Ray dashboard, and answers every request with a page."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("verb", ["status", "train"])
def test_another_server_at_the_address_is_told_from_ray(
    project: Path, own_home: Path, stranger: str, verb: str
) -> None:
    assert refuse(5, "--address", stranger, verb) == f"{stranger} answers, but not as a Ray dashboard does"
    assert_nothing_kept(own_home)


def test_down_with_nothing_running_says_so(own_home: Path) -> None:
    assert str(own_home) in refuse(3, "down")
    assert not own_home.exists()


def ports(**chosen: int) -> list[str]:
    """Options of `up` with free ports, but for those that are chosen."""
    return [part for name in PORT_SETTINGS for part in (f"--{name}-port", str(chosen.get(name) or free_port()))]


@pytest.mark.parametrize("name", PORT_SETTINGS)
def test_up_names_a_busy_port_and_its_setting(own_home: Path, folder: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = refuse(4, "up", *ports(**{name: port}))
    assert said.startswith(f"port {port} (RAYLOOP_{name.upper()}_PORT) is in use")
    assert not own_home.exists()
    assert files_in(folder) == []


def test_up_refuses_one_port_for_two_services(own_home: Path) -> None:
    port = free_port()
    said = refuse(4, "up", *ports(edge=port, mlflow=port))
    assert "RAYLOOP_EDGE_PORT" in said
    assert "RAYLOOP_MLFLOW_PORT" in said
    assert not own_home.exists()


@pytest.mark.parametrize(("option", "value"), [("--edge-port", "0"), ("--mlflow-port", "70000")])
def test_up_refuses_a_number_that_is_no_port(own_home: Path, option: str, value: str) -> None:
    said = refuse(2, "up", *ports(), option, value)
    assert value in said
    assert "_PORT=" in said
    assert not own_home.exists()


def test_a_setting_of_the_environment_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLOOP_EDGE_PORT", "eighty")
    assert refuse(2, "status").startswith("RAYLOOP_EDGE_PORT=eighty: ")


def test_a_home_that_cannot_be_one_is_told(project: Path) -> None:
    said = refuse(5, "--home", str(project / "below"), "data", "add")
    assert "cannot open the database" in said
    assert str(project / "below") in said


DAMAGED = {
    "empty": "",
    "cut off": '{"id": "abc", "sett',
    "not a mapping": "[]",
    "no settings": '{"id": "abc"}',
    "settings that are none": '{"settings": []}',
    "not text": "\x00\x01",
}


@pytest.mark.parametrize("verb", [("status",), ("down",), ("up",), ("data", "list"), ("demo", "--exit")])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_cluster_file_is_named(project: Path, own_home: Path, verb: tuple[str, ...], damage: str) -> None:
    own_home.mkdir()
    (own_home / CLUSTER_FILE).write_text(DAMAGED[damage])
    arguments = ["--home", str(own_home), *verb] if verb[0] == "demo" else [*verb]
    said = refuse(2, *arguments)
    assert said.startswith(f"{own_home / CLUSTER_FILE} is damaged: ")
    assert files_in(own_home) == [CLUSTER_FILE]


@pytest.mark.parametrize("verb", ["down", "up"])
def test_a_cluster_file_that_lost_a_part_is_damaged_too(own_home: Path, verb: str) -> None:
    own_home.mkdir()
    (own_home / CLUSTER_FILE).write_text('{"settings": {}, "id": "abc"}')
    assert "is damaged" in refuse(2, verb)
    assert files_in(own_home) == [CLUSTER_FILE]


def test_the_demo_empties_no_folder_of_someone_else_s(
    folder: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (folder / "mine").mkdir()
    (folder / "mine/thesis.txt").write_text("years of work")
    assert "--folder" in refuse(4, "demo", "--exit", "--folder", "mine")
    assert files_in(folder) == ["mine/thesis.txt"]
    assert not own_home.exists()


def test_up_forgets_the_addresses_of_a_cluster_that_died(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own_home.mkdir()
    old = {"edge_port": 1, "dashboard_port": 2, "address": NOBODY, "tracking_uri": "http://127.0.0.1:3"}
    known: dict[str, Any] = dict.fromkeys(("gcs_address", "serve_ports", "services"), "")
    known |= {"id": "0" * 32, "head": 1 << 22, "boot_s": 0.0, "sessions": [], "workers": []}
    known |= {"temp_folder": str(tmp_path / "ray"), "settings": old}
    (own_home / CLUSTER_FILE).write_text(json.dumps(known))
    seen: list[Settings] = []

    def start(settings: Settings, **_options: Any) -> NoReturn:
        seen.append(settings)
        raise Unavailable("far enough")

    monkeypatch.setattr(services.LocalCluster, "start", start)
    dashboard = free_port()
    assert refuse(5, "up", *ports(dashboard=dashboard)) == "far enough"
    assert seen[0].address == f"http://127.0.0.1:{dashboard}"
    assert NOBODY not in seen[0].model_dump_json()
    assert seen[0].tracking_uri == f"http://127.0.0.1:{seen[0].mlflow_port}"
    assert not (own_home / CLUSTER_FILE).exists()
