"""A search as one HTML page with drawings in SVG; it needs no plotting library and loads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .importance import Importance
from .objectives import Objective, is_whole, pareto
from .table import describe, short
from .trial import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED, Trial

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 640, 260, 64, 34, 12
COLORS = {FINISHED: "#1b6ca8", STOPPED: "#9db4c0", DIVERGED: "#c1440e", FAILED: "#7a1f1f", RUNNING: "#777777"}
BEST = "#e0a100"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px system-ui, sans-serif; max-width: 960px; margin: 24px auto; color: #222; }}
svg {{ background: #fafafa; display: block; }} svg text {{ font-size: 11px; fill: #444; }}
table {{ border-collapse: collapse; }} td, th {{ padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; }}
td:last-child, th:last-child {{ text-align: left; }} i {{ display: inline-block; width: 9px; height: 9px; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Axes:
    """From values to places of a drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]]) -> Axes:
        """Axes that hold all points; a range of nothing becomes one around its value."""
        xs, ys = [x for x, _ in points] or [0.0], [y for _, y in points] or [0.0]
        return cls(*_widened(min(xs), max(xs)), *_widened(min(ys), max(ys)))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """In SVG's own unit, from the upper left."""
        across = (x - self.x_low) / (self.x_high - self.x_low)
        up = (y - self.y_low) / (self.y_high - self.y_low)
        return LEFT + across * (WIDTH - LEFT - EDGE), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - EDGE)

    def frame(self, x_name: str, y_name: str) -> str:
        """Lines, the ends of both scales, and their names."""
        base, right = HEIGHT - BOTTOM, WIDTH - EDGE
        return (
            f'<path d="M{LEFT} {EDGE}V{base}H{right}" fill="none" stroke="#888"/>'
            f'<text x="{LEFT}" y="{base + 14}">{short(self.x_low)}</text>'
            f'<text x="{right}" y="{base + 14}" text-anchor="end">{short(self.x_high)}</text>'
            f'<text x="{(LEFT + right) / 2}" y="{base + 28}" text-anchor="middle">{escape(x_name)}</text>'
            f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">{short(self.y_low)}</text>'
            f'<text x="{LEFT - 4}" y="{EDGE + 9}" text-anchor="end">{short(self.y_high)}</text>'
            f'<text x="{LEFT + 6}" y="{EDGE + 9}">{escape(y_name)}</text>'
        )


def page(
    title: str,
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    importances: Mapping[str, Sequence[Importance]],
    winner: int | None,
) -> str:
    """The whole page: trials, learning curves, the Pareto set where there are two objectives, importances, a table."""
    first = objectives[0]
    parts = [f"<h2>{escape(first.name)} of each trial</h2>", _by_number(trials, first, winner), _legend(trials)]
    parts += [f"<h2>{escape(first.name)} by epoch, best so far</h2>", _curves(trials, first, winner)]
    if len(objectives) > 1:
        parts += ["<h2>Pareto set</h2>", _front(trials, objectives, winner)]
    for name, found in importances.items():
        parts += [f"<h2>What mattered for {escape(name)}</h2>", _bars(found)]
    parts += ["<h2>Trials</h2>", _table(trials, objectives, winner)]
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def _by_number(trials: Sequence[Trial], objective: Objective, winner: int | None) -> str:
    scored = [trial for trial in trials if is_whole(trial, [objective])]
    axes = Axes.around([(trial.number, objective.value(trial)) for trial in scored])
    best: list[tuple[float, float]] = []
    for trial in scored:
        is_better = not best or objective.loss(trial) < (best[-1][1] if objective.is_minimized else -best[-1][1])
        best.append((trial.number, objective.value(trial) if is_better else best[-1][1]))
    dots = [_dot(axes, trial.number, objective.value(trial), trial, winner) for trial in scored]
    lost = [_cross(axes, trial) for trial in trials if trial.outcome in {DIVERGED, FAILED}]
    return _svg(axes.frame("trial", objective.name), _line(axes, best, BEST, 1.5), *dots, *lost)


def _curves(trials: Sequence[Trial], objective: Objective, winner: int | None) -> str:
    curves = [(trial, [(r.epoch, r.score) for r in trial.reports if math.isfinite(r.score)]) for trial in trials]
    axes = Axes.around([point for _, points in curves for point in points])
    curves.sort(key=lambda curve: curve[0].number == winner)  # the winner lies above the others
    lines = [
        _line(
            axes, points, BEST if trial.number == winner else COLORS[trial.outcome], 2 if trial.number == winner else 1
        )
        for trial, points in curves
    ]
    return _svg(axes.frame("epoch", objective.name), *lines)


def _front(trials: Sequence[Trial], objectives: Sequence[Objective], winner: int | None) -> str:
    first, second = objectives[:2]
    whole = [trial for trial in trials if is_whole(trial, objectives)]
    front = pareto(trials, objectives)
    axes = Axes.around([(second.value(trial), first.value(trial)) for trial in whole])
    dots = [_dot(axes, second.value(trial), first.value(trial), trial, winner) for trial in whole]
    rings = []
    for trial in front:
        x, y = axes.place(second.value(trial), first.value(trial))
        rings.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none" stroke="{BEST}"/>')
    return _svg(axes.frame(second.name, first.name), *dots, *rings)


def _bars(found: Sequence[Importance]) -> str:
    height, parts = 22 * len(found) + 8, []
    for place, one in enumerate(found):
        y = 22 * place + 6
        share = 0.0 if math.isnan(one.share) else one.share
        said = f"not known from {one.trials} trials" if math.isnan(one.share) else f"{share:.0%} ({one.trials} trials)"
        width = share * (WIDTH - 320)
        parts.append(
            f'<text x="150" y="{y + 12}" text-anchor="end">{escape(one.name)}</text>'
            f'<rect x="158" y="{y}" width="{width:.1f}" height="16" fill="{COLORS[FINISHED]}"/>'
            f'<text x="{164 + width:.1f}" y="{y + 12}">{said}</text>'
        )
    return _svg(*parts, height=height)


def _table(trials: Sequence[Trial], objectives: Sequence[Objective], winner: int | None) -> str:
    names = [*(objective.name for objective in objectives), "epochs", "CPU s", "GPU s", "s", "ended", "settings"]
    rows = ["<tr><th>trial</th>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"]
    for trial in trials:
        costs = (f"{trial.cost(name):.1f}" for name in ("cpu_seconds", "gpu_seconds", "wall_seconds"))
        values = [short(objective.value(trial)) if trial.reports else "" for objective in objectives]
        ended = f"{trial.outcome}: {trial.why}" if trial.why else trial.outcome
        cells = [*values, str(trial.epochs), *costs, ended, describe(trial.settings)]
        mark = "*" if trial.number == winner else ""
        rows.append(f"<tr><td>{mark}{trial.number}</td>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table>"


def _legend(trials: Sequence[Trial]) -> str:
    there = {trial.outcome for trial in trials}
    found = [f'<i style="background:{color}"></i> {name}' for name, color in COLORS.items() if name in there]
    return f"<p>{' '.join([*found, f'<i style=background:{BEST}></i> best so far, winner'])}</p>"


def _dot(axes: Axes, x: float, y: float, trial: Trial, winner: int | None) -> str:
    across, down = axes.place(x, y)
    color = BEST if trial.number == winner else COLORS[trial.outcome]
    told = escape(f"trial {trial.number}: {short(y)}, {describe(trial.settings)}")
    return f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{color}"><title>{told}</title></circle>'


def _cross(axes: Axes, trial: Trial) -> str:
    x, _ = axes.place(min(max(trial.number, axes.x_low), axes.x_high), axes.y_low)
    y, told = HEIGHT - BOTTOM - 6, escape(f"trial {trial.number}: {trial.why}")
    path = f"M{x - 4:.1f} {y - 4}l8 8m0 -8l-8 8"
    return f'<path d="{path}" stroke="{COLORS[trial.outcome]}"><title>{told}</title></path>'


def _line(axes: Axes, points: Sequence[tuple[float, float]], color: str, width: float) -> str:
    places = (axes.place(x, y) for x, y in points)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def _svg(*parts: str, height: int = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">{"".join(parts)}</svg>'


def _widened(low: float, high: float) -> tuple[float, float]:
    if low == high:
        margin = abs(low) * 0.1 or 0.5
        return low - margin, high + margin
    return low, high
