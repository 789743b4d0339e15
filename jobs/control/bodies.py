"""Owns what the bodies of requests to the control API may say; unknown keys are refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ...platform.traffic.split import BUCKETS, MAX_VERSION

BY_HTTP = "over HTTP"

Version = Annotated[int, Field(ge=1, le=MAX_VERSION)]
Weight = Annotated[int, Field(ge=0, le=BUCKETS, strict=True)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitBody(_Body):
    """A new split: each version's weight in 1/10,000."""

    weights: Annotated[dict[Version, Weight], Field(min_length=1)]
    reason: Reason = BY_HTTP
    revision: Annotated[int, Field(ge=0, strict=True)] | None = None
    """The revision that the caller saw; 409 if it is no more that one."""

    def shares(self) -> list[str]:
        """The weights as `jobs.serving.set_split` takes them.

        >>> SplitBody(weights={3: 9_000, 4: 1_000}).shares()
        ['3=90.00', '4=10.00']
        """
        return [f"{version}={weight // 100}.{weight % 100:02d}" for version, weight in self.weights.items()]


class ReasonBody(_Body):
    """Why; kept in the ledger."""

    reason: Reason = BY_HTTP


class DeployBody(_Body):
    """How a version is deployed."""

    force: Reason | None = None
    """Why it may be served though it has not passed its gates."""


class ReplicasBody(_Body):
    """How many processes hold the version."""

    replicas: Annotated[int, Field(ge=0, le=1_000, strict=True)]


class LoadParameters(_Body):
    """What Triton's clients may say with a load; a model's configuration is not for them to change."""

    version: Version | None = None


class LoadBody(_Body):
    """The body of a load."""

    parameters: LoadParameters = LoadParameters()


class UnloadParameters(_Body):
    """What Triton's clients may say with an unload."""

    version: Version | None = None
    unload_dependents: bool = False
    """Triton's client always sends it; no model here depends on another."""


class UnloadBody(_Body):
    """The body of an unload."""

    parameters: UnloadParameters = UnloadParameters()


class TokenBody(_Body):
    """A token to be made."""

    name: str
    role: str = "inference"
