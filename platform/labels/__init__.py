"""Labels that arrive after their predictions: how they are read, where they are kept, and which one counts."""

from .body import MAX_RECORDS, parse_body
from .log import Added, LabelLog
from .record import Label

__all__ = ["MAX_RECORDS", "Added", "Label", "LabelLog", "parse_body"]
