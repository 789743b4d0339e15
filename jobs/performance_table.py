"""What a person sees of labels and performance in a terminal; it reads values and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .terminal import clock, console, make_table

MOST_ALARMS = 10


def show_performance(found: Mapping[str, Any]) -> None:
    """Windows in order of time, the detectors' alarms, and the verdict."""
    metric = found["metric"]
    whose = f"{found['endpoint']} " + ("of all versions" if found["version"] is None else f"v{found['version']}")
    table = make_table(
        *("window (UTC)", ">predictions", ">labelled", ">of (now, in the end)", f">{metric}", "95 %"),
        *(">estimate", ">was off by", "state", "alarms"),
    )
    for window in found["windows"]:
        inside = [alarm for alarm in found["alarms"] if window["since_s"] <= alarm["at_s"] < window["until_s"]]
        table.add_row(*_window(window, metric), ", ".join(sorted({alarm["detector"] for alarm in inside})))
    console.print(table)
    for alarm in found["alarms"][-MOST_ALARMS:]:
        way = "rose" if alarm["rose"] else "fell"
        console.print(f"{alarm['detector']}: errors {way} at error {alarm['index']}, {clock(alarm['at_s'])}")
    if len(found["alarms"]) > MOST_ALARMS:
        console.print(f"… and {len(found['alarms']) - MOST_ALARMS} alarms before")
    console.print(_reference(found))
    console.print(f"{whose}: {found['verdict']}, {found['reason']}")
    if found["pipeline_run"]:
        console.print(f"follow it: `rayloop pipeline show {found['pipeline_run']} --follow`")


def show_label_history(records: Sequence[Mapping[str, Any]]) -> None:
    """Every record of one predicted row, oldest first."""
    table = make_table(">sequence", "label", "arrived (UTC)", "time (UTC)", "by")
    for record in records:
        moments = (None if record[key] is None else record[key].timestamp() for key in ("arrived", "time"))
        table.add_row(str(record["sequence"]), record["label"], *map(clock, moments), record["by"])
    console.print(table)


def _window(window: Mapping[str, Any], metric: str) -> list[str]:
    measured, estimate = window["metrics"].get(metric), window["estimates"].get(metric)
    interval = ""
    if measured is not None and measured["low"] is not None:
        interval = f"{measured['low']:.4f} to {measured['high']:.4f}"
    return [
        clock(window["since_s"])[:-3],
        str(window["predictions"]),
        f"{window['labelled']} ({window['coverage']:.0%})",
        f"{_share(window['expected'])}, {_share(window['promise'])}",
        "" if measured is None else f"{measured['mean']:.4f}",
        interval,
        _number(estimate),
        _number(window["past_error"].get(metric)) if estimate is not None else "",
        _state(window),
    ]


def _state(window: Mapping[str, Any]) -> str:
    if not window["predictions"]:
        return ""
    return str(window["verdict"] or ("reference" if window["is_reference"] else window["state"]))


def _reference(found: Mapping[str, Any]) -> str:
    reference, metric = found["reference"], found["metric"]
    learnt = found["estimator"]
    how = "nothing" if learnt["method"] is None else f"{learnt['method']} from {learnt['rows']} rows with labels"
    if reference is None:
        return f"no reference yet; estimates by {how}"
    value = reference["metrics"][metric]["mean"]
    return f"reference: {metric} {value:.4f} on {reference['rows']} rows, {reference['source']}; estimates by {how}"


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
