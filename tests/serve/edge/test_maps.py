import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.traffic import Split
from rayloop.serve.edge import AdminSocket, MapChange, desired_maps, read_running, reconcile
from rayloop.serve.edge.maps import render_map, write_map

ENTRIES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"))


def test_desired_maps_hold_splits_and_apps():
    split = Split.parse("digits", ["3=100"], revision=7)
    splits, versions = desired_maps([split], {"digits": [3, 4]})
    assert splits == {"digits": "7|10000:3:10000"}
    assert versions == {"digits/3": "digits--v3", "digits/4": "digits--v4"}


def test_an_endpoint_has_one_split():
    split = Split.parse("digits", ["3=100"], revision=7)
    with pytest.raises(InvalidInput, match="two splits"):
        desired_maps([split, split], {})


def test_an_unfit_name_never_reaches_a_map():
    with pytest.raises(InvalidInput, match="endpoint"):
        desired_maps([], {"digits; shutdown": [1]})


@given(ENTRIES, ENTRIES)
def test_changes_turn_the_running_map_into_the_desired_one(desired, running):
    after = dict(running)
    for change in reconcile(desired, running):
        if change.verb == "del":
            del after[change.key]
        else:
            assert (change.key in after) == (change.verb == "set")
            after[change.key] = change.value
    assert after == desired
    assert reconcile(desired, after) == []


def test_a_change_is_written_for_the_socket(tmp_path):
    path = tmp_path / "a b.map"
    assert MapChange("set", "digits", "7|1").command(path).endswith("a\\ b.map digits 7|1")
    assert MapChange("del", "digits").command(path).startswith("del map /")
    assert MapChange("del", "digits").command(path).endswith(" digits")


def test_a_map_file_is_written_once_and_whole(tmp_path):
    path = tmp_path / "split.map"
    assert write_map(path, {"b": "2", "a": "1"})
    assert path.read_text() == render_map({"a": "1", "b": "2"}) == "a 1\nb 2\n"
    assert not write_map(path, {"a": "1", "b": "2"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["split.map"]


def test_no_socket_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match="does not answer on its admin socket"):
        AdminSocket(tmp_path / "none.sock").ask("show info")


def test_a_silent_socket_is_unavailable(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(Unavailable, match="timed out"):
            AdminSocket(tmp_path / "s", timeout_s=0.05).ask("show info")


def test_an_answer_that_is_no_map_is_unavailable(tmp_path):
    def answer(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"Unknown map identifier.\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with pytest.raises(Unavailable, match="Unknown map identifier"):
            read_running(AdminSocket(tmp_path / "s"), tmp_path / "split.map")
        thread.join()
