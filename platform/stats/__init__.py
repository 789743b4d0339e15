"""Owns mergeable profiles of tables and the drift statistics of two profiles; starts no process.

arrays.py        NumPy or CuPy
columns.py       an Arrow column as numbers or strings
binning.py       the bins of a column, made from the reference
histogram.py     the counting kernel, on any array module
moments.py       count, range, mean and spread, which add
profile.py       statistics of a table's columns, which add
scan.py          the one pass from a table to its profile
groups.py        coarse groups of bins for PSI and KL
distance.py      how far two histograms lie apart
significance.py  how likely that is by chance
estimate.py      means and shares with an interval
drift.py         which columns drift, and whether the window does
report.py        what the comparison says
"""

from .arrays import array_module, to_host
from .binning import Binning, fit_binnings
from .columns import kind_of
from .distance import jensen_shannon, kl_divergence, ks_statistic, psi, total_variation
from .drift import DriftLimits, compare
from .estimate import Estimate, estimate_mean, estimate_share, student_t
from .groups import coarse_groups, fine_groups, in_groups
from .histogram import counts_in_bins, edges_like
from .moments import Moments
from .profile import ColumnProfile, Profile
from .report import ColumnDrift, DriftReport
from .scan import categorical_profile, numeric_profile, profile_table
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
    "Binning",
    "ChiSquare",
    "ColumnDrift",
    "ColumnProfile",
    "DriftLimits",
    "DriftReport",
    "Estimate",
    "Moments",
    "Profile",
    "array_module",
    "benjamini_hochberg",
    "categorical_profile",
    "chi_square",
    "chi_square_p_value",
    "coarse_groups",
    "compare",
    "counts_in_bins",
    "edges_like",
    "estimate_mean",
    "estimate_share",
    "fine_groups",
    "fit_binnings",
    "homogeneity_p_value",
    "hypergeometric_p_value",
    "in_groups",
    "jensen_shannon",
    "kind_of",
    "kl_divergence",
    "ks_p_value",
    "ks_statistic",
    "numeric_profile",
    "profile_table",
    "psi",
    "smallest_ks",
    "student_t",
    "to_host",
    "total_variation",
]
