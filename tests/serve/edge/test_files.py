"""The edge's folder is its owner's alone, whoever was there first."""

from __future__ import annotations

import os
import stat

import pytest
from rayloop.platform.errors import Conflict
from rayloop.serve.edge.files import make_folder


def test_a_folder_is_made_for_its_owner_alone_and_taken_again(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / "above" / "edge")
    assert stat.S_IMODE((tmp_path / "above" / "edge").stat().st_mode) == 0o700


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "edge").mkdir(mode=0o700)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(Conflict, match=f"belongs to user {own}"):
        make_folder(tmp_path / "edge")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path, mode):
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge").chmod(mode)
    with pytest.raises(Conflict, match="others may write"):
        make_folder(tmp_path / "edge")
