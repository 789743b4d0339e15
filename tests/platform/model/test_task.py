"""A task is found by name beside the project, each folder with its own code, or refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.tabular import TabularTask
from rayloop.platform.model.task import find_task

pytestmark = pytest.mark.usefixtures("own_imports")


def value(use: str, folder: Path) -> float:
    task: Any = find_task(use, folder)
    return float(task.value())


def refusal(use: str, folder: Path | None = None) -> str:
    with pytest.raises(InvalidInput) as error:
        find_task(use, folder)
    return str(error.value)


def test_tabular_is_built_in() -> None:
    assert isinstance(find_task("tabular"), TabularTask)


def test_a_task_is_found_beside_the_project(write_task: Callable[..., Path]) -> None:
    assert value("owntask:Own", write_task("project", 3)) == 3


def test_two_folders_of_one_module_name_have_their_own_code(write_task: Callable[..., Path]) -> None:
    first, second = write_task("first", 1), write_task("second", 2)
    assert [value("owntask:Own", folder) for folder in (first, second, first, first, second)] == [1, 2, 1, 1, 2]


def test_a_relative_folder_is_forgotten_too(
    write_task: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task("first", 1)
    write_task("second", 2)
    monkeypatch.chdir(tmp_path)
    assert [value("owntask:Own", Path(folder)) for folder in ("first", "second", "first")] == [1, 2, 1]


def test_a_found_task_goes_on_with_its_own_code(write_task: Callable[..., Path]) -> None:
    first: Any = find_task("owntask:Own", write_task("first", 1))
    find_task("owntask:Own", write_task("second", 2))
    assert first.value() == 1


@pytest.mark.parametrize("use", ["tabluar", ":Own", "owntask:", ""])
def test_a_bad_name_shows_how_it_is_written(use: str) -> None:
    assert refusal(use) == f"task.use = {use!r}: it must be tabular, image, sequence, forecast, or module:Class"


def test_what_is_not_there_is_named(write_task: Callable[..., Path]) -> None:
    folder = write_task("project", 3)
    assert refusal("ownother:Own", folder) == "task.use = 'ownother:Own': no module 'ownother' beside the project file"
    assert refusal("owntask:Other", folder) == "task.use = 'owntask:Other': module 'owntask' has no class 'Other'"
    (folder / "owntask_empty.py").write_text("class Own:\n    def build(self, schema, params): ...\n    loss = build\n")
    assert refusal("owntask_empty:Own", folder) == "task.use = 'owntask_empty:Own': the class lacks encode, predict"
    (folder / "owntask_needs.py").write_text("import no_such_library\n")
    assert "no module 'no_such_library'" in refusal("owntask_needs:Own", folder)


def test_a_fault_of_the_users_code_is_shown_as_it_is(write_task: Callable[..., Path]) -> None:
    folder = write_task("project", 3)
    (folder / "owntask_broken.py").write_text("import math\nmath.no_such_name\n")
    with pytest.raises(AttributeError, match="no_such_name"):
        find_task("owntask_broken:Own", folder)
    (folder / "owntask_init.py").write_text("class Own:\n    def __init__(self): self.no_such_field.x = 1\n")
    with pytest.raises(AttributeError, match="no_such_field"):
        find_task("owntask_init:Own", folder)


def test_a_new_module_is_seen_at_once(write_task: Callable[..., Path]) -> None:
    folder = write_task("project", 3)
    find_task("owntask:Own", folder)
    stamp = folder.stat()
    write_task("project", 4, module="owntask_late")
    os.utime(folder, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as fast as the file system's clock is coarse
    assert value("owntask_late:Own", folder) == 4
