"""How the traffic of an endpoint is shared between its versions."""

from .split import BUCKETS, MAX_VARIANTS, Split, Variant, app_name, app_prefix, check_endpoint

__all__ = [
    "BUCKETS",
    "MAX_VARIANTS",
    "Split",
    "Variant",
    "app_name",
    "app_prefix",
    "check_endpoint",
]
