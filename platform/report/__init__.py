"""What a drift comparison looks like to people and machines: a page, a document, metrics; judges nothing.

shape.py       two distributions of a column on the same few bars
severity.py    which column comes first
document.py    the report with its aggregates, as JSON
page.py        the document as one HTML file; page.css and page.js are its style and its script
sparkline.py   a distribution as block characters
exposition.py  the newest verdicts for Prometheus
"""

from .document import DOCUMENT_FORM, DOCUMENT_VERSION, describe_drift, document_bytes, read_stored, worst_distributions
from .exposition import CONTENT_TYPE, DriftCheck, write_metrics
from .page import render_page
from .severity import WORDS, by_severity, excess
from .shape import Shape, shape_of
from .sparkline import sparkline, sparklines

__all__ = [
    "CONTENT_TYPE",
    "DOCUMENT_FORM",
    "DOCUMENT_VERSION",
    "WORDS",
    "DriftCheck",
    "Shape",
    "by_severity",
    "describe_drift",
    "document_bytes",
    "excess",
    "read_stored",
    "render_page",
    "shape_of",
    "sparkline",
    "sparklines",
    "worst_distributions",
    "write_metrics",
]
