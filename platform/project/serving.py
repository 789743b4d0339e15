"""How the replicas of a version scale and what they log, as the project file says it; it scales nothing itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from .section import BrokenRule, Section

MOST_REPLICAS = 1_000  # of one version; a larger number is a slip of the hand


class AutoscaleConfig(Section):
    """How many replicas a version has at which load; each version scales on its own."""

    min: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] = 1
    """Never fewer; 0 lets an idle version go, and its next request waits while a replica starts."""
    max: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 8
    """Never more."""
    target_ongoing: Annotated[float, Field(gt=0)] = 8
    """How many requests a replica should have in flight or waiting; more of them start further replicas."""
    upscale_delay_s: Annotated[float, Field(ge=0)] = 5
    """How long more replicas must be wanted before they are started; from zero it is done at once."""
    downscale_delay_s: Annotated[float, Field(ge=0)] = 300
    """How long fewer replicas must be wanted before some are stopped."""
    idle_to_zero_s: Annotated[float, Field(ge=0)] = 600
    """How long no request may have come before the last replica is stopped; it matters where `min` is 0."""

    @model_validator(mode="after")
    def _min_is_below_max(self) -> AutoscaleConfig:
        if self.min > self.max:
            raise BrokenRule(f"{self.min} is above max {self.max}", "min")
        return self


class CaptureConfig(Section):
    """What of a version's answers is logged, and when it is written."""

    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the requests that are logged; 0 logs none."""
    flush_rows: Annotated[int, Field(ge=1)] = 20_000
    """A file is written once so many rows wait."""
    flush_seconds: Annotated[float, Field(gt=0, le=3600)] = 0.5
    """A file is written so long after its first row came, however few there are."""
