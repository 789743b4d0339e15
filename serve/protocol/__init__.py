"""Wire protocols: what a request's bytes say, and the bytes of an answer."""

from .tensor import checked_outputs
from .v2 import V2Request, decode, encode, metadata

__all__ = ["V2Request", "checked_outputs", "decode", "encode", "metadata"]
