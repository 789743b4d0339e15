"""The shape of the house: which room may import which, what a folder holds, and what the wheel brings along."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ROOMS = ("platform", "cluster", "serve", "jobs", "cli")  # each may import itself and those before it
MODULES = sorted(
    path
    for room in ROOMS
    for path in [*(ROOT / room).rglob("*.py"), ROOT / f"{room}.py"]
    if path.is_file() and "__pycache__" not in path.parts
)
MIGRATIONS = ROOT / "platform/state/migrations"
MOST_LINES = 400
HEAVY = ("ray", "torch", "mlflow", "cupy")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, only_absolute: bool = False) -> Iterator[tuple[str, int]]:
    """Every imported module by its full name and the line of the import; imports inside functions count too."""
    package = ["rayloop", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif only_absolute and isinstance(node, ast.ImportFrom) and node.level:
            continue
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from .. import jobs` imports a room as a name.
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "rayloop" and len(parts) > 1 and parts[1] in ROOMS else None


def run_python(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else dict(os.environ)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_there_are_modules_in_every_room() -> None:
    assert {room_of(f"rayloop.{path.relative_to(ROOT).with_suffix('').parts[0]}") for path in MODULES} == set(ROOMS)


def test_imports_go_one_way() -> None:
    backwards = []
    for path in MODULES:
        own = ROOMS.index(path.relative_to(ROOT).with_suffix("").parts[0])
        for module, line in imports(path):
            room = room_of(module)
            if room is not None and ROOMS.index(room) > own:
                backwards.append(f"{name_of(path)}:{line} imports {module}")
    assert backwards == []


def test_platform_imports_no_ray() -> None:
    found = [
        f"{name_of(path)}:{line}"
        for path in MODULES
        if path.is_relative_to(ROOT / "platform")
        for module, line in imports(path)
        if module.split(".")[0] == "ray"
    ]
    assert found == []


def test_the_package_imports_itself_by_relative_names() -> None:
    # Alembic runs the migrations as scripts, which have no package to be relative to.
    absolute = [
        f"{name_of(path)}:{line} imports {module}"
        for path in MODULES
        if not path.is_relative_to(MIGRATIONS)
        for module, line in imports(path, only_absolute=True)
        if module.split(".")[0] == "rayloop"
    ]
    assert absolute == []


def test_every_module_says_what_it_is() -> None:
    trees = {name_of(path): ast.parse(path.read_text()) for path in [*MODULES, ROOT / "__init__.py"]}
    assert [name for name, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_no_file_is_a_drawer_for_anything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    everything = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    found = [name_of(path) for path in everything if drawers & set(path.relative_to(ROOT).with_suffix("").parts)]
    assert found == []


def test_no_module_is_too_long_to_read() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_platform_never_hides_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    done = run_python("-c", "import platform; print(platform.machine())", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == os.uname().machine


def test_importing_rayloop_imports_nothing_else() -> None:
    code = "import sys, rayloop; print([name for name in sys.modules if name.startswith('rayloop.')])"
    done = run_python("-c", code, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert list(imports(ROOT / "__init__.py")) == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("rayloop.platform.stats", HEAVY),
        ("rayloop.platform.workspace", HEAVY),
        ("rayloop.cli", (*HEAVY, "numpy", "pyarrow", "sqlalchemy", "pydantic")),
        ("rayloop.cluster", HEAVY),
        ("rayloop.jobs.terminal", (*HEAVY, "sklearn")),
        ("rayloop.jobs.training.loop", ("ray", "mlflow")),
    ],
)
def test_importing_a_part_loads_no_more_than_it_needs(module: str, unwanted: tuple[str, ...], tmp_path: Path) -> None:
    code = f"import sys, json, {module}; print(json.dumps([name for name in {unwanted} if name in sys.modules]))"
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


TRAINER = ("plan", "loop", "optimizer", "parallel", "precision", "feed", "data", "stream", "window", "prefetch")
TRAINER_TOO = ("average", "checkpoint", "saving", "determinism", "flops", "phases", "session")


def test_the_trainer_and_its_benchmark_run_where_there_is_no_ray_and_no_mlflow(tmp_path: Path) -> None:
    named = [f"rayloop.jobs.training.{name}" for name in (*TRAINER, *TRAINER_TOO)]
    code = f"import sys; sys.modules.update(ray=None, mlflow=None); sys.path.append({str(ROOT / 'benchmarks')!r})\n"
    done = run_python("-c", f"{code}import {', '.join(named)}, training_gpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_python("-c", f"{code}import rayloop.jobs.training.worker", cwd=tmp_path)  # which is Ray Train's
    assert "ModuleNotFoundError: No module named 'ray.train'" in done.stderr


def test_the_listed_packages_are_the_folders_that_hold_modules() -> None:
    folders = {path.parent.relative_to(ROOT) for path in MODULES} | {Path("platform"), Path()}
    on_disk = {".".join(["rayloop", *folder.parts]) for folder in folders}
    listed = pyproject()["tool"]["setuptools"]["packages"]
    assert listed == sorted(on_disk)


def test_every_folder_but_platform_and_the_migrations_is_a_regular_package() -> None:
    folders = {path.parent for path in MODULES} | {ROOT / "platform"}
    bare = {name_of(folder) for folder in folders if not (folder / "__init__.py").exists()}
    assert bare == {"platform", name_of(MIGRATIONS), name_of(MIGRATIONS / "versions")}


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    project = pyproject()["project"]
    named = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    for line in named:
        operators = {bound.operator for bound in Requirement(line).specifier}
        assert operators & {"==", "~="} or (operators & {">=", ">"} and operators & {"<", "<="}), line


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no build leftovers come in or stay."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "rayloop-demo")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    command = ("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(folder / "source"))
    done = run_python(*command, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("rayloop-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it, its dependencies left out."""
    target = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--target", str(target))
    done = run_python("-m", "pip", "install", *options, str(wheel), cwd=target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {f"rayloop/{name_of(path)}" for path in [*MODULES, ROOT / "__init__.py"]}
    page = {f"rayloop/platform/report/page.{end}" for end in ("css", "html", "js")}
    assert names == modules | page | {"rayloop/py.typed", "rayloop/platform/state/migrations/script.py.mako"}


SMOKE = """
import sys
import rayloop, rayloop.cli
assert not [name for name in ("ray", "torch", "mlflow") if name in sys.modules]
import rayloop.cluster, rayloop.jobs.report, rayloop.platform.stats, rayloop.serve.edge
from rayloop.platform.state import Database
Database("sqlite:///smoke.db").close()
import platform
assert platform.machine()
for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] == "rayloop":
        print(getattr(module, "__file__", None) or list(module.__path__)[0])
"""


def test_the_installed_wheel_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = run_python("-P", "-c", SMOKE, cwd=tmp_path, path=installed)
    assert done.returncode == 0, done.stderr
    places = done.stdout.split()
    assert len(places) > 30
    assert [place for place in places if not place.startswith(str(installed))] == []  # never the editable one


def test_the_installed_command_answers_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    code = "import sys; from rayloop.cli import main; sys.argv[0] = 'rayloop'; main(['--help'])"
    done = run_python("-P", "-c", code, cwd=tmp_path, path=installed)
    assert done.returncode == 0, done.stderr
    verbs = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.split()}
    assert {"init", "check", "up", "down", "train", "tune", "deploy", "split", "rollback", "drift", "demo"} <= verbs
    assert list(tmp_path.iterdir()) == []
