"""Wide bins are split where a distance would be wrong, and only there."""

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.stats import Binning, fit_binning, profile, wasserstein
from rayloop.platform.stats.binning import MAX_BINS
from rayloop.platform.stats.refining import MAX_MORE, refined
from scipy.stats import wasserstein_distance

GENERATOR = np.random.default_rng(11)
SHAPES = {
    "cauchy": GENERATOR.standard_cauchy(20_000),
    "lognormal": GENERATOR.lognormal(0, 3, 20_000),
    "two far apart": np.concatenate([GENERATOR.normal(0, 1, 9_000), GENERATOR.normal(1e4, 1, 1_000)]),
    "integers with a gap": np.concatenate([GENERATOR.integers(0, 100, 5_000), [900]]).astype(float),
    "tenths with a gap": np.concatenate([GENERATOR.integers(0, 90, 5_000) / 10, [77.7]]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_distance_holds_in_tails_and_gaps(name: str) -> None:
    values = SHAPES[name]
    binning = fit_binning(pa.chunked_array([values]))
    assert binning.num_bins <= MAX_BINS + MAX_MORE
    assert all(np.float32(edge) != 0 for edge in binning.edges[1:] if edge != 0)
    known = profile({"x": values}, {"x": binning}).columns["x"]
    low, high = np.quantile(values, [0.05, 0.95])
    for current in (values * 0.9, np.full(400, low + 0.7 * (high - low)), values[::7] + (high - low) / 3):
        window = profile({"x": current}, {"x": binning}).columns["x"]
        raw = wasserstein_distance(values, current)
        # Between two neighbours of a lattice nothing is known: half a step.
        half_step = 0.05 if name.startswith("tenths") else 0.0
        assert wasserstein(known, window) == pytest.approx(raw, abs=max(values.std() / 64, half_step)), name


def test_even_bins_and_small_samples_stay() -> None:
    even = np.linspace(0, 1, 20_000)
    plain = Binning("fractional", edges=tuple(np.linspace(0, 1, 321)))
    assert refined(plain, even) is not plain
    assert len(refined(plain, even).edges) == 321
    wide = Binning("fractional", edges=(0.0, 1.0))
    assert refined(wide, even[:100]) is wide
    assert refined(wide, np.ones(1_000)) is wide
    assert len(refined(wide, even).edges) > 30


def test_every_old_edge_stays() -> None:
    values = SHAPES["cauchy"]
    edges = tuple(np.unique(np.quantile(values, np.linspace(0, 1, 50))).tolist())
    assert set(edges) < set(refined(Binning("fractional", edges=edges), values).edges)


def test_integers_next_to_each_other_need_no_bin_between() -> None:
    values = np.repeat(np.arange(50), 20)
    assert fit_binning(pa.chunked_array([values])).num_bins == 50
