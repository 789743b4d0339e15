"""Decides whether a challenger on live traffic goes on, goes back, or is watched longer."""

from .canary import ArmCounts, CanaryDecision, decide
from .confidence import share_bounds

__all__ = ["ArmCounts", "CanaryDecision", "decide", "share_bounds"]
