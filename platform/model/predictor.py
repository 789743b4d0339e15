"""Loads whatever a version is made of: our own artifact, or, where a person consented, a model of any MLflow flavor."""

from __future__ import annotations

from ..errors import InvalidInput
from .artifact import load_artifact
from .folder import fetch_folder, folder_sha256, own_artifact
from .signature import Servable


def load_predictor(source: str, consented_sha256: str | None = None) -> Servable:
    """Load the model at a folder or URI.

    Without consent only our own artifacts are loaded, which hold no pickle. `consented_sha256` is that of the
    files which a person asked for by name; they may be a foreign model, whose code runs then.

    Raises NotFound, or InvalidInput where a file was changed or the model can't be served.
    """
    if consented_sha256 is None:
        return load_artifact(source)
    fetched = fetch_folder(source)
    folder = fetched.path
    if folder_sha256(folder) != consented_sha256:
        raise InvalidInput(f"{source} was changed since it was deployed: remove it there and deploy the model anew")
    own = own_artifact(folder)
    if own is not None:
        return load_artifact(str(own))
    from .foreign import load_foreign  # MLflow takes over a second to import

    return load_foreign(folder, fetched)
