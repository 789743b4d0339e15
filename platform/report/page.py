"""Owns the page of a drift report: one HTML file that loads nothing, whatever the names in it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from .document import document_bytes, require_document
from .severity import WORDS

# In a script element only these could end it, or begin a comment that swallows its end.
_UNSAFE = {b"<": b"\\u003c", b">": b"\\u003e", b"&": b"\\u0026"}


def render_page(document: Mapping[str, Any]) -> bytes:
    """Write the page of a document that `describe_drift` made. Raises `InvalidInput` for another form.

    Its policy (CSP) lets the browser run this one script and load nothing at all.
    """
    require_document(document)
    style, script, body = (_part(name) for name in ("page.css", "page.js", "page.html"))
    report = document["report"]
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'"
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(document['title'])}: {WORDS[report['verdict']]}</title>\n<style>{style}</style>\n</head>\n"
    )
    # Who opens it without scripts still reads what was found.
    words = {"title": document["title"], "verdict": report["verdict"], "reason": report["reason"]}
    words["word"] = WORDS[report["verdict"]].capitalize()
    filled = re.sub(r"{(\w+)}", lambda match: escape(words[match[1]]), body)
    data = document_bytes(document)
    for unsafe, safe in _UNSAFE.items():
        data = data.replace(unsafe, safe)
    return b"".join(
        [
            head.encode(),
            filled.encode(),
            b'<script type="application/json" id="document">',
            data,
            b"</script>\n<script>",
            script.encode(),
            b"</script>\n</body>\n</html>\n",
        ]
    )


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
