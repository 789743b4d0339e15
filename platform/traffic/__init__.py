"""How the traffic of an endpoint is shared between its versions, who may ask for it, and who stays on a version."""

from .access import OPEN, Access
from .split import (
    BUCKETS,
    MAX_SHADOWS,
    MAX_VARIANTS,
    Shadow,
    Split,
    Variant,
    app_name,
    app_prefix,
    check_endpoint,
    parse_shadows,
)
from .sticky import Sticky

__all__ = [
    "BUCKETS",
    "MAX_SHADOWS",
    "MAX_VARIANTS",
    "OPEN",
    "Access",
    "Shadow",
    "Split",
    "Sticky",
    "Variant",
    "app_name",
    "app_prefix",
    "check_endpoint",
    "parse_shadows",
]
