"""Each grid and the compiled pass over it count as the definition does: tails, denormals, huge spans, one edge."""

import array_api_strict
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rayloop.platform.stats import Binning, edges_like, profile, profile_array
from rayloop.platform.stats.fitting import numeric_binning
from rayloop.platform.stats.grid import AROUND, BY_PATTERN, BY_VALUE, CELLS, make_grid
from rayloop.platform.stats.tally import NumberTally

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=20_000)
SHAPES = {
    "even": RNG.uniform(size=20_000),
    "normal": NORMAL,
    "far from zero": 1e9 + NORMAL,
    "heavy tail": RNG.lognormal(sigma=5, size=20_000),
    "two heavy tails": RNG.standard_cauchy(20_000) ** 3,
    "heavy tails far from zero": 1e6 + RNG.standard_cauchy(20_000) ** 3,
    "mirrored tail": -RNG.lognormal(sigma=5, size=20_000),
    "huge span": np.sign(NORMAL) * 10.0 ** RNG.uniform(-300, 300, 20_000),
    "denormal": RNG.integers(-1_000, 1_000, 20_000) * 5e-324,
    "spikes": np.concatenate([NORMAL, np.zeros(20_000), np.ones(20_000)]),
    "integers": RNG.poisson(3, 20_000).astype(float),
    "constant": np.full(100, 0.1),
    "constant huge": np.full(100, -1e300),
    "nothing": np.array([np.nan]),
    "ends": np.array([-np.finfo(np.float64).max, 0.0, np.finfo(np.float64).max]),
}


def awkward(edges: tuple[float, ...], dtype: type) -> np.ndarray:
    """The edges, their neighbours on both sides, and what lies far out."""
    with np.errstate(over="ignore", under="ignore"):
        edges_E = np.array(edges).astype(dtype)
        limits = np.finfo(dtype)
        far = [limits.max, limits.min, limits.tiny, -limits.tiny, 0.0, -0.0, limits.smallest_subnormal, np.nan, np.inf]
        near = [edges_E, np.nextafter(edges_E, dtype(np.inf)), np.nextafter(edges_E, dtype(-np.inf))]
        return np.concatenate([*near, np.array([*far, -np.inf], dtype=dtype)])


def check(values_N: np.ndarray, binning: Binning) -> None:
    """The compiled pass against the array API on NumPy and on the strict module, slot for slot."""
    tally = NumberTally(binning)
    tally.add_values(values_N)
    with np.errstate(all="ignore"):
        one, other = tally.profile(), profile_array(values_N, binning)
        strict = profile_array(array_api_strict.asarray(values_N), binning)
    assert one.counts.tolist() == other.counts.tolist() == strict.counts.tolist()
    assert one.distinct == other.distinct == strict.distinct
    for found in (other, strict):
        assert (one.moments.count, one.min, one.max) == (found.moments.count, found.min, found.max)
    if one.mean is not None and one.min is not None and one.max is not None and other.mean is not None:
        scale = max(abs(one.min), abs(one.max))
        assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-9 * scale)
        if one.m2 is not None and other.m2 is not None:
            assert one.m2 == pytest.approx(other.m2, rel=1e-9, abs=1e-9 * scale * scale)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_counts_alike_everywhere(shape: str, dtype: type) -> None:
    reference = SHAPES[shape]
    binning = numeric_binning(reference)
    narrow = reference.astype(dtype)
    check(np.concatenate([narrow, awkward(binning.edges, dtype)]), binning)
    check(NORMAL.astype(dtype), binning)
    check(np.empty(0, dtype), binning)


def test_each_grid_is_chosen_where_it_is_best() -> None:
    chosen = {shape: make_grid(edges_like(numeric_binning(SHAPES[shape]).edges, NORMAL)) for shape in SHAPES}
    assert chosen["even"].how == BY_VALUE
    assert chosen["heavy tail"].how == BY_PATTERN
    assert chosen["heavy tails far from zero"].how == AROUND
    assert all(len(grid.places_G) == CELLS + 1 for grid in chosen.values())
    assert chosen["even"].most_in_cell == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("edge", [0.0, 1.0, -1e-30, 8e37, 4e307, -1e300])
def test_one_edge(edge: float, dtype: type) -> None:
    binning = Binning("fractional", edges=(edge,))
    check(awkward(binning.edges if abs(edge) < 1e38 or dtype is np.float64 else (0.0,), dtype), binning)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_edges_that_meet_in_the_narrow_type(dtype: type) -> None:
    check(np.array([0.1, 0.0, -0.0, 1.0], dtype), Binning("fractional", edges=(-1e-50, 1e-50, 0.1, 0.1 + 1e-12)))


def test_no_edge_is_minus_zero() -> None:
    edges_E = edges_like((-1e-50, 1.0), np.zeros(1, np.float32))
    assert not np.signbit(edges_E).any()


EDGES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30, unique=True)
VALUES = st.lists(st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0])), max_size=60)


@given(EDGES, VALUES, st.sampled_from([np.float32, np.float64]))
@example([8e37], [-3.4e38, 3.4e38], np.float32)
@example([-1e20, -1e-50, 1.0], [0.0, -0.0], np.float32)
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_any_edges_and_values(edges: list[float], values: list[float], dtype: type) -> None:
    binning = Binning("fractional", edges=tuple(sorted({edge + 0.0 for edge in edges})))
    at_edges = [edge for edge in edges if abs(edge) < 3e38]
    check(np.array([*values, *at_edges]).astype(dtype), binning)


def test_moments_are_the_textbooks() -> None:
    for shape in ("even", "normal", "far from zero", "spikes", "integers", "heavy tail"):
        column = profile({"x": SHAPES[shape]}).columns["x"]
        assert column.mean == pytest.approx(SHAPES[shape].mean(), rel=1e-12)
        assert column.std == pytest.approx(SHAPES[shape].std(ddof=1), rel=1e-7)


def test_a_stream_that_moves_far_away_keeps_its_digits() -> None:
    binning = numeric_binning(NORMAL)
    tally = NumberTally(binning)
    parts = [NORMAL, 1e8 + NORMAL, -1e8 + NORMAL]
    for part in parts:
        tally.add_values(part)
    whole = np.concatenate(parts)
    assert tally.profile().mean == pytest.approx(whole.mean(), abs=1e-6)
    assert tally.profile().std == pytest.approx(whole.std(ddof=1), rel=1e-12)


def test_sums_that_overflow_are_none_and_not_wrong() -> None:
    column = profile({"x": np.array([1e200, -1e200, 3.0, 3.0])}).columns["x"]
    assert (column.min, column.max, column.m2, column.std) == (-1e200, 1e200, None, None)
