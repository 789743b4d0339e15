"""Owns mergeable profiles of tables and the drift statistics of two profiles; starts no process.

profiling.py     the plain call: profile(data, like=reference)
tables.py        pandas, Arrow, Polars, NumPy, CuPy, torch as columns
columns.py       an Arrow column as numbers, texts or vectors
binning.py       the bins of a column, and the order of their slots
fitting.py       the bins made from the reference
widening.py      widened to all of it, where a sample made them
refining.py      further edges where bins are wide
profiles.py      statistics of a table's columns, which add
profile_file.py  their Parquet file
scan.py          the pass over a table, on all cores
files.py         the pass over Parquet files, in fixed memory
tally.py         what is counted of one column, batch after batch
fused.py         the compiled pass over numbers on a CPU
grid.py          the look-up grid by which it finds a bin
device.py        the same counts on any array module
cuda.py          and by one kernel on a GPU
histogram.py     counting by sorting, on any array module
arrays.py        NumPy or CuPy
cores.py         processors to use
moments.py       count, range, mean and spread, which add
distinct.py      about how many values differ, which adds
frequent.py      the most frequent texts, which add
embedding.py     a column of vectors: its mean, its random features
groups.py        coarse groups of bins for PSI, KL and JS
distance.py      how far two histograms lie apart
wasserstein.py   how far two distributions lie apart along the line
embedding_drift.py  how far two sets of vectors lie apart
significance.py  how likely that is by chance
kolmogorov.py    the same of KS, exactly, for few rows
estimate.py      means and shares with an interval
measures.py      every statistic of one column, by name
power.py         the smallest effect that a window can show
limits.py        what a column may differ by
calibration.py   limits from chunks of the reference
drift.py         which columns drift, and whether the window does
evidently.py     the same by the rules of Evidently
multivariate.py  drift of the columns together, on a sample of rows
report.py        what the comparison says
"""

from .arrays import Prefer, array_module, to_host
from .binning import Basis, Binning
from .calibration import Calibration, calibrate
from .columns import kind_of
from .device import profile_array
from .distance import hellinger, jensen_shannon, kl_divergence, ks_statistic, l_infinity, psi, total_variation
from .distinct import DistinctSketch
from .drift import compare
from .embedding import VectorSums
from .embedding_drift import EmbeddingDrift, embedding_drift
from .estimate import Estimate, estimate_mean, estimate_share, student_t
from .files import (
    ParquetFiles,
    Portion,
    Selection,
    TimeRange,
    count_portions,
    fit_files,
    profile_files,
    profile_in_order,
)
from .fitting import fit_binning, fit_binnings
from .frequent import FrequentTexts
from .groups import coarse_groups, fine_groups, in_groups
from .histogram import counts_in_bins, edges_like
from .kolmogorov import exact_ks_p_value
from .limits import DriftLimits
from .measures import Measured, measure
from .moments import Moments
from .multivariate import multivariate_drift
from .power import smallest_effect
from .profile_file import read_profile, write_profile
from .profiles import ColumnProfile, Profile
from .profiling import profile
from .report import ColumnDrift, DriftReport
from .scan import TableTally, misfit, profile_table
from .significance import (
    ChiSquare,
    benjamini_hochberg,
    chi_square,
    chi_square_p_value,
    chi_square_quantile,
    gamma_p_value,
    gamma_quantile,
    homogeneity_p_value,
    hypergeometric_p_value,
    ks_p_value,
    smallest_ks,
)
from .wasserstein import wasserstein
from .widening import widened

__all__ = [
    "Basis",
    "Binning",
    "Calibration",
    "ChiSquare",
    "ColumnDrift",
    "ColumnProfile",
    "DistinctSketch",
    "DriftLimits",
    "DriftReport",
    "EmbeddingDrift",
    "Estimate",
    "FrequentTexts",
    "Measured",
    "Moments",
    "ParquetFiles",
    "Portion",
    "Prefer",
    "Profile",
    "Selection",
    "TableTally",
    "TimeRange",
    "VectorSums",
    "array_module",
    "benjamini_hochberg",
    "calibrate",
    "chi_square",
    "chi_square_p_value",
    "chi_square_quantile",
    "coarse_groups",
    "compare",
    "count_portions",
    "counts_in_bins",
    "edges_like",
    "embedding_drift",
    "estimate_mean",
    "estimate_share",
    "exact_ks_p_value",
    "fine_groups",
    "fit_binning",
    "fit_binnings",
    "fit_files",
    "gamma_p_value",
    "gamma_quantile",
    "hellinger",
    "homogeneity_p_value",
    "hypergeometric_p_value",
    "in_groups",
    "jensen_shannon",
    "kind_of",
    "kl_divergence",
    "ks_p_value",
    "ks_statistic",
    "l_infinity",
    "measure",
    "misfit",
    "multivariate_drift",
    "profile",
    "profile_array",
    "profile_files",
    "profile_in_order",
    "profile_table",
    "psi",
    "read_profile",
    "smallest_effect",
    "smallest_ks",
    "student_t",
    "to_host",
    "total_variation",
    "wasserstein",
    "widened",
    "write_profile",
]
