"""The secret by which replicas know the edge; one for each store, made when first asked for."""

from __future__ import annotations

import secrets
from pathlib import Path

from ..platform.data import Store
from ..platform.errors import NotFound

NAME = "edge/secret"


def edge_secret(store: Store) -> str:
    """The secret: 43 letters, digits, `-` and `_`; readable by this user alone where the store is a folder."""
    try:
        return store.read(NAME).decode()
    except NotFound:
        store.write(NAME, secrets.token_urlsafe(32).encode())
    if store.is_local:
        Path(store.path(NAME)).chmod(0o600)
    return store.read(NAME).decode()


def known_secret(store: Store) -> str | None:
    """The secret if there is one yet; it makes none."""
    try:
        return store.read(NAME).decode()
    except NotFound:
        return None
