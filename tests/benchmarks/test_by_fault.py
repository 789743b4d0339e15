"""Requests are held against the right faults, and an answer against the split of its own time."""

from __future__ import annotations

from allowed import Allowed
from by_fault import Fault, after, away_from, before_all, lines
from client import Outcome


def outcome(
    due_s: float, took_s: float = 0.01, *, status: int = 200, version: str = "1", sent_again: int = 0
) -> Outcome:
    return Outcome(due_s, due_s, due_s + took_s, status, version, sent_again, "")


KILL, SPLIT = Fault("kill", 10.0, 10.0), Fault("split", 20.0, 22.0)


def test_a_request_that_was_under_way_when_the_fault_came_counts() -> None:
    outcomes = [outcome(9.99, 0.02), outcome(9.9, 0.05), outcome(14.9), outcome(15.1)]
    assert after("kill", [KILL, SPLIT], outcomes).requests == 2


def test_a_fault_that_takes_long_counts_until_five_seconds_after_its_end() -> None:
    outcomes = [outcome(19.9), outcome(21.0), outcome(26.9, 0.5, status=503), outcome(27.1)]
    figures = after("split", [KILL, SPLIT], outcomes)
    assert (figures.requests, figures.failed, figures.slowest_ms) == (2, 1, 500.0)


def test_a_request_near_two_faults_of_a_kind_counts_once() -> None:
    faults = [Fault("kill", 10.0, 10.0), Fault("kill", 12.0, 12.0)]
    assert after("kill", faults, [outcome(13.0)]).requests == 1


def test_the_quiet_time_ends_with_the_first_fault() -> None:
    outcomes = [outcome(1.0), outcome(9.995, 0.02), outcome(30.0)]
    assert before_all([SPLIT, KILL], outcomes).requests == 1


def test_what_was_sent_again_away_from_a_kill_is_found() -> None:
    outcomes = [outcome(11.0, sent_again=3), outcome(20.5, sent_again=1), outcome(21.0)]
    assert away_from("kill", [KILL, SPLIT], outcomes) == 1


def test_the_99th_percentile_is_the_least_that_one_in_a_hundred_passes() -> None:
    outcomes = [outcome(11.0, number / 1e3) for number in range(1, 201)]
    assert round(after("kill", [KILL], outcomes).p99_ms) == 198


def test_the_table_has_a_line_for_the_quiet_each_kind_and_all() -> None:
    titles = [line[0] for line in lines([SPLIT, KILL], [outcome(1.0)])]
    assert titles == ["(before the first fault)", "kill", "split", "(all of them)"]


def test_an_old_split_is_allowed_until_the_change_is_done() -> None:
    allowed = Allowed([(0.0, 5.0, frozenset({"1"})), (4.0, float("inf"), frozenset({"2"}))])
    good = [outcome(4.9, version="1"), outcome(4.9, version="2"), outcome(9.0, version="2")]
    strays = [outcome(6.0, version="1"), outcome(1.0, version="2")]
    assert allowed.strays([*good, *strays]) == strays
    assert allowed.strays([outcome(6.0, version="1", status=503)]) == []  # it is failed, and counted there


def test_a_change_ends_the_split_before_it() -> None:
    allowed = Allowed()
    allowed.change({"1", "2"}, lambda: None)
    allowed.change({"2"}, lambda: None)
    (_, first_until, _), (second_since, second_until, _) = allowed.spans
    assert second_since <= first_until < second_until == float("inf")
