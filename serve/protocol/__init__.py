"""Wire protocols: what a request's bytes say, and the bytes of an answer."""

from .exchange import Answer, Codec, Request
from .tensor import checked_outputs
from .v2 import decode, encode, encode_binary, metadata

__all__ = ["Answer", "Codec", "Request", "checked_outputs", "decode", "encode", "encode_binary", "metadata"]
