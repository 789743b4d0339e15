"""Owns mergeable profiles of tables and the drift statistics of two profiles; starts no process.

profiling.py     the plain call: profile(data, like=reference)
tables.py        pandas, Arrow, Polars, NumPy, CuPy, torch as columns
columns.py       an Arrow column as numbers, texts or vectors
binning.py       the bins of a column, and the order of their slots
fitting.py       the bins made from the reference
profiles.py      statistics of a table's columns, which add
profile_file.py  their Parquet file
scan.py          the pass over a table, on all cores
files.py         the pass over Parquet files, in fixed memory
tally.py         what is counted of one column, batch after batch
fused.py         the compiled pass over numbers on a CPU
grid.py          the look-up grid by which it finds a bin
device.py        the same counts on any array module, and a CUDA kernel
histogram.py     counting by sorting, on any array module
arrays.py        NumPy or CuPy
cores.py         processors to use
moments.py       count, range, mean and spread, which add
distinct.py      about how many values differ, which adds
frequent.py      the most frequent texts, which add
embedding.py     a column of vectors: its mean, its random features
groups.py        coarse groups of bins for PSI and KL
distance.py      how far two histograms lie apart
significance.py  how likely that is by chance
estimate.py      means and shares with an interval
drift.py         which columns drift, and whether the window does
report.py        what the comparison says
"""

from .arrays import Prefer, array_module, to_host
from .binning import Basis, Binning
from .columns import kind_of
from .device import profile_array
from .distance import jensen_shannon, kl_divergence, ks_statistic, psi, total_variation
from .distinct import DistinctSketch
from .drift import DriftLimits, compare
from .embedding import VectorSums
from .estimate import Estimate, estimate_mean, estimate_share, student_t
from .files import ParquetFiles, Portion, Selection, TimeRange, count_portions, profile_files
from .fitting import fit_binning, fit_binnings
from .frequent import FrequentTexts
from .groups import coarse_groups, fine_groups, in_groups
from .histogram import counts_in_bins, edges_like
from .moments import Moments
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
    homogeneity_p_value,
    hypergeometric_p_value,
    ks_p_value,
    smallest_ks,
)

__all__ = [
    "Basis",
    "Binning",
    "ChiSquare",
    "ColumnDrift",
    "ColumnProfile",
    "DistinctSketch",
    "DriftLimits",
    "DriftReport",
    "Estimate",
    "FrequentTexts",
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
    "chi_square",
    "chi_square_p_value",
    "coarse_groups",
    "compare",
    "count_portions",
    "counts_in_bins",
    "edges_like",
    "estimate_mean",
    "estimate_share",
    "fine_groups",
    "fit_binning",
    "fit_binnings",
    "homogeneity_p_value",
    "hypergeometric_p_value",
    "in_groups",
    "jensen_shannon",
    "kind_of",
    "kl_divergence",
    "ks_p_value",
    "ks_statistic",
    "misfit",
    "profile",
    "profile_array",
    "profile_files",
    "profile_table",
    "psi",
    "read_profile",
    "smallest_ks",
    "student_t",
    "to_host",
    "total_variation",
    "write_profile",
]
