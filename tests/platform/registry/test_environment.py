"""The lock lists what is installed, and two locks differ line by line."""

from __future__ import annotations

import sys

from rayloop.platform.registry import compare_locks, environment_lock


def test_the_environment_is_listed_and_sorted() -> None:
    lines = environment_lock().splitlines()
    assert lines == sorted(set(lines), key=str.lower)
    assert any(line.startswith("numpy==") for line in lines)
    assert f"python=={sys.version.split()[0].rstrip('+')}" in lines


def test_an_environment_equals_itself() -> None:
    assert compare_locks(environment_lock(), environment_lock()) == []


def test_each_difference_is_a_sentence() -> None:
    then = "numpy==2.4.6\nold_one==1.0\ntorch==2.13.0+cpu\n"
    now = "new==3\nnumpy==2.4.6\ntorch==2.12.1\n"
    assert compare_locks(then, now) == [
        "new 3 was not installed then",
        "old-one 1.0 is not installed here",
        "torch was 2.13.0+cpu, is 2.12.1",
    ]


def test_the_spelling_of_a_name_is_no_difference() -> None:
    assert compare_locks("Typing_Extensions==4\n", "typing-extensions==4\n") == []
