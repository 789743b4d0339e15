"""How our own processes trust an edge that speaks TLS: by the very file that holds its certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..platform.errors import InvalidInput
from ..platform.settings import Settings


def edge_trust(settings: Settings) -> ssl.SSLContext | bool:
    """What httpx takes as `verify`: the edge's own certificate, or what this machine trusts where it is not here."""
    if not settings.edge_certificate or not Path(settings.edge_certificate).is_file():
        return True
    context = ssl.create_default_context(cafile=settings.edge_certificate)
    context.check_hostname = False  # we ask it by its address
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate alone is enough, whoever signed it
    return context


def require_certificate(settings: Settings) -> None:
    """Raise InvalidInput where the edge could not speak TLS with the certificate that it was given."""
    path = settings.edge_certificate
    if not path:
        return
    rule = "it must be a PEM file with a certificate and its private key, not encrypted"
    try:
        # An encrypted key would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password="")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"RAYLOOP_EDGE_CERTIFICATE={path}: {rule} ({error})") from None
