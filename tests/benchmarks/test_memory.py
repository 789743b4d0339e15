"""Growth of memory: windows, the bound in percent, the slack of small processes, and those that came or ended."""

from __future__ import annotations

import pytest
from memory import MIB, Growth, Sample, growths, name_of

LASTS_S = 1800.0


def samples(
    name: str, pid: int, start_mib: float, end_mib: float, since_s: float = 0, until_s: float = LASTS_S
) -> list:
    """One process each 10 s, growing evenly."""
    found = []
    for at_s in range(10, int(LASTS_S) + 1, 10):
        if since_s <= at_s <= until_s:
            size = int((start_mib + (end_mib - start_mib) * at_s / LASTS_S) * MIB)
            found.append(Sample(at_s, pid, 1.0, name, size, size, size))
    return found


def one(start_mib: float, end_mib: float) -> Growth:
    (found,) = growths(samples("replica", 7, start_mib, end_mib), LASTS_S)
    return found


def test_the_windows_are_minutes_five_to_seven_and_the_last_two() -> None:
    grown = one(100, 130)
    assert grown.rss == (pytest.approx(106 * MIB, rel=1e-3), pytest.approx(129 * MIB, rel=1e-3))


@pytest.mark.parametrize(
    ("start_mib", "end_mib", "is_flat"),
    [(100, 106, True), (100, 107, False), (100, 90, True), (10, 12, True), (10, 13, False), (31, 33.1, False)],
)
def test_the_bound_is_five_percent_or_two_mebibytes_of_a_small_process(
    start_mib: float, end_mib: float, is_flat: bool
) -> None:
    assert one(start_mib, end_mib).is_flat == is_flat


def test_a_process_that_came_or_ended_is_shown_and_not_judged() -> None:
    taken = [
        *samples("stays", 1, 50, 50),
        *samples("ends", 2, 50, 500, until_s=900),
        *samples("comes", 3, 50, 500, since_s=900),
        *samples("is gone before", 4, 50, 50, until_s=200),
    ]
    found = {growth.name: growth for growth in growths(taken, LASTS_S)}
    assert {name: growth.lived_through for name, growth in found.items()} == {
        "stays": True,
        "ends": False,
        "comes": False,
    }
    assert (found["ends"].cells()[-1], found["comes"].cells()[-1]) == ("ended", "came")


def test_another_process_with_a_number_used_before_is_another_process() -> None:
    taken = samples("first", 1, 50, 50, until_s=900)
    taken += [Sample(s.at_s, 1, 901.0, "second", s.rss, s.uss, s.pss) for s in samples("", 1, 90, 90, since_s=901)]
    assert sorted(growth.name for growth in growths(taken, LASTS_S)) == ["first", "second"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::ServeReplica:mlp--v1:Version", ""], "ray::ServeReplica:mlp--v1:Version"),
        (["/x/bin/python", "-u", "-m", "rayloop.jobs.steward"], "python -m rayloop.jobs.steward"),
        (["/x/raylet", "--store=/tmp/a", "--worker=/x/bin/python w.py"], "raylet"),
        (["ray::ServeController.listen_for_change"], "ray::ServeController"),
        (["/x/haproxy", "-D", "-f", "/tmp/e/haproxy.cfg"], "haproxy e/haproxy.cfg"),
    ],
)
def test_names_are_short(command: list[str], name: str) -> None:
    assert name_of(command) == name
