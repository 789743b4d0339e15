"""Owns the split of an endpoint's traffic over its versions; knows nothing of proxies, sockets or models.

A request falls into one of 10,000 buckets, and each version owns a contiguous range of them. The newest
version starts at bucket 0, so ramping it from 5 % to 20 % only adds buckets to it, and a session stays on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ..errors import InvalidInput

BUCKETS = 10_000
MAX_VARIANTS = 8
MAX_SHADOWS = 4
MAX_VERSION = 999_999_999

_ENDPOINT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SHARE = re.compile(r"([1-9][0-9]{0,8})=([0-9]{1,3})(?:\.([0-9]{1,2}))?")
_FIELD = re.compile(r"([0-9]{1,5}):([1-9][0-9]{0,8}):([0-9]{1,5})")
_SHADOW_MARK = "s:"
_SHADOW = re.compile(r"([1-9][0-9]{0,8}):([0-9]{1,5})")
_REVISION = re.compile(r"[0-9]{1,15}")


def check_endpoint(endpoint: str) -> str:
    """Return the name of an endpoint, if it is fit for one.

    Raises InvalidInput unless it is 1-64 letters, digits, "_", "-" and ".", begins with a letter, a digit or
    "_" (so that it is never a "." or ".." in a path), and is without "--v", which marks a version in an app's
    name.
    """
    if not _ENDPOINT.fullmatch(endpoint):
        raise InvalidInput(
            f"endpoint {endpoint!r} must be 1-64 letters, digits, '_', '-' and '.', "
            "and begin with a letter, a digit or '_'"
        )
    if "--v" in endpoint:
        raise InvalidInput(f"endpoint {endpoint!r} must not contain '--v', which marks a version")
    return endpoint


def check_version(endpoint: str, version: int) -> int:
    """Return the number of a version, or raise InvalidInput if it is not in 1..999,999,999."""
    if not 1 <= version <= MAX_VERSION:
        raise InvalidInput(f"version {version} of {endpoint!r} must lie in 1..{MAX_VERSION}")
    return version


def app_name(endpoint: str, version: int) -> str:
    """Name the Serve application of one version.

    >>> app_name("digits", 3)
    'digits--v3'
    """
    return f"{check_endpoint(endpoint)}--v{check_version(endpoint, version)}"


def app_prefix(endpoint: str, version: int) -> str:
    """Give the hidden path under which the application of one version listens.

    >>> app_prefix("digits", 3)
    '/__v/digits--v3'
    """
    return f"/__v/{app_name(endpoint, version)}"


@dataclass(frozen=True, slots=True)
class Variant:
    """A version inside a split; `weight` is its share in 1/10,000, and 0 keeps it ready without traffic."""

    version: int
    weight: int


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version that gets a copy of a share of the requests, in 1/10,000; nobody waits for its answers."""

    version: int
    share: int


@dataclass(frozen=True, slots=True)
class Split:
    """The shares of an endpoint's versions and its shadows, newest first; each change is a new revision."""

    endpoint: str
    variants: tuple[Variant, ...]
    revision: int
    shadows: tuple[Shadow, ...] = ()

    def __post_init__(self) -> None:
        check_endpoint(self.endpoint)
        ordered = tuple(sorted(self.variants, key=lambda variant: -variant.version))
        object.__setattr__(self, "variants", ordered)
        versions = [variant.version for variant in ordered]
        if not 1 <= len(ordered) <= MAX_VARIANTS:
            raise self._invalid(f"has {len(ordered)} versions, and must have 1 to {MAX_VARIANTS}")
        for version in versions:
            check_version(self.endpoint, version)
            if versions.count(version) > 1:
                raise self._invalid(f"names version {version} twice, and may name it once")
        for variant in ordered:
            if not 0 <= variant.weight <= BUCKETS:
                share = f"{variant.version}={_percent(variant.weight)}"
                raise self._invalid(f"gives {share}, and a share must lie in 0..100 %")
        if (total := sum(variant.weight for variant in ordered)) != BUCKETS:
            raise self._invalid(f"adds up to {_percent(total)} %, and must add up to 100 %")
        if self.revision < 0:
            raise self._invalid(f"has revision {self.revision}, and a revision must not be negative")
        self._check_shadows({variant.version for variant in ordered if variant.weight})

    def _check_shadows(self, with_traffic: set[int]) -> None:
        ordered = tuple(sorted(self.shadows, key=lambda shadow: -shadow.version))
        object.__setattr__(self, "shadows", ordered)
        versions = [shadow.version for shadow in ordered]
        if len(ordered) > MAX_SHADOWS:
            raise self._invalid(f"has {len(ordered)} shadows, and may have at most {MAX_SHADOWS}")
        for shadow in ordered:
            check_version(self.endpoint, shadow.version)
            if versions.count(shadow.version) > 1:
                raise self._invalid(f"names shadow {shadow.version} twice, and may name it once")
            if shadow.version in with_traffic:
                raise self._invalid(f"has version {shadow.version} as a shadow, which has traffic itself")
            if not 1 <= shadow.share <= BUCKETS:
                share = f"{shadow.version}={_percent(shadow.share)}"
                raise self._invalid(f"copies {share}, and a shadow's share must lie in 0.01..100 %")

    @classmethod
    def parse(cls, endpoint: str, shares: Sequence[str], revision: int) -> Self:
        """Read shares as a person writes them: VERSION=PERCENT with up to two decimals.

        >>> Split.parse("digits", ["3=90", "4=10"], revision=1).variants
        (Variant(version=4, weight=1000), Variant(version=3, weight=9000))
        """
        return cls(endpoint, tuple(Variant(*_parsed(endpoint, share)) for share in shares), revision)

    @classmethod
    def from_map_value(cls, endpoint: str, value: str) -> Self:
        """Read what `map_value` wrote; raises InvalidInput on anything else."""
        revision, *fields = value.split("|")
        has_shadows = bool(fields) and fields[-1].startswith(_SHADOW_MARK)
        copied = fields.pop().removeprefix(_SHADOW_MARK).split(",") if has_shadows else []
        matches = [_FIELD.fullmatch(field) for field in fields]
        copies = [_SHADOW.fullmatch(field) for field in copied]
        if _REVISION.fullmatch(revision) and all(matches) and all(copies):
            variants = tuple(Variant(int(match[2]), int(match[3])) for match in matches if match)
            shadows = tuple(Shadow(int(match[1]), int(match[2])) for match in copies if match)
            split = cls(endpoint, variants, int(revision), shadows)
            if split.map_value() == value:
                return split
        raise InvalidInput(f"map value {value!r} of {endpoint!r} must be what a split writes")

    def map_value(self) -> str:
        """Write the whole split as one map value: `revision|threshold:version:weight|...`, newest first.

        A version owns the buckets from the threshold before it up to, and without, its own. Where there are
        shadows, they are the last field, `s:version:share,version:share`.

        >>> Split.parse("digits", ["3=90", "4=10"], revision=7).map_value()
        '7|1000:4:1000|10000:3:9000'
        >>> Split("digits", (Variant(3, 10_000),), 8, (Shadow(4, 10_000), Shadow(5, 500))).map_value()
        '8|10000:3:10000|s:5:500,4:10000'
        """
        fields, threshold = [str(self.revision)], 0
        for variant in self.variants:
            threshold += variant.weight
            fields.append(f"{threshold}:{variant.version}:{variant.weight}")
        if self.shadows:
            fields.append(_SHADOW_MARK + ",".join(f"{shadow.version}:{shadow.share}" for shadow in self.shadows))
        return "|".join(fields)

    def variant_of(self, bucket: int) -> Variant:
        """Find the variant that owns a bucket; raises InvalidInput unless the bucket is in 0..9999."""
        if not 0 <= bucket < BUCKETS:
            raise InvalidInput(f"bucket {bucket} must lie in 0..{BUCKETS - 1}")
        threshold = 0
        for variant in self.variants:
            threshold += variant.weight
            if bucket < threshold:
                return variant
        raise AssertionError("weights add up to all buckets")

    def _invalid(self, fault: str) -> InvalidInput:
        return InvalidInput(f"split of {self.endpoint!r} {fault}")


def parse_shadows(endpoint: str, shares: Sequence[str]) -> tuple[Shadow, ...]:
    """Read shadows as a person writes them: VERSION for all requests, VERSION=PERCENT for a share of them.

    >>> parse_shadows("digits", ["4", "5=2.5"])
    (Shadow(version=4, share=10000), Shadow(version=5, share=250))
    """
    whole = [share if "=" in share else f"{share}=100" for share in map(str.strip, shares)]
    return tuple(Shadow(*_parsed(endpoint, share)) for share in whole)


def _parsed(endpoint: str, share: str) -> tuple[int, int]:
    """A version and its share in 1/10,000."""
    match = _SHARE.fullmatch(share.strip())
    if not match:
        raise InvalidInput(
            f"share {share!r} of {endpoint!r} must be VERSION=PERCENT with up to two decimals, such as 3=90 or 4=2.5"
        )
    hundredths = (match[3] or "").ljust(2, "0")
    return int(match[1]), int(match[2]) * 100 + int(hundredths)


def _percent(weight: int) -> str:
    return f"{weight / 100:.2f}".rstrip("0").rstrip(".")
