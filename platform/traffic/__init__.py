"""How the traffic of an endpoint is shared between its versions, who may ask for it, and who stays on a version."""

from .access import OPEN, Access
from .split import BUCKETS, MAX_VARIANTS, Split, Variant, app_name, app_prefix, check_endpoint
from .sticky import Sticky

__all__ = [
    "BUCKETS",
    "MAX_VARIANTS",
    "OPEN",
    "Access",
    "Split",
    "Sticky",
    "Variant",
    "app_name",
    "app_prefix",
    "check_endpoint",
]
