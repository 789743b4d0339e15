"""The Open Inference Protocol V2 over gRPC; loaded only where it is spoken."""

from __future__ import annotations

from .server import GrpcServer

__all__ = ["GrpcServer"]
