"""Which versions a split has allowed, and when; it moves no traffic itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from client import Outcome


@dataclass
class Allowed:
    """An old split is allowed until the edge has the new one; `spans` are since, until, versions."""

    spans: list[tuple[float, float, frozenset[str]]] = field(default_factory=list)

    def change(self, versions: Iterable[str], apply: Callable[[], object]) -> None:
        """Let a change of split happen: the new versions count from before it, the old ones until after it."""
        self.spans.append((time.monotonic(), float("inf"), frozenset(versions)))
        apply()
        ended_s = time.monotonic()
        for place, (since, until, names) in enumerate(self.spans[:-1]):
            if until == float("inf"):
                self.spans[place] = (since, ended_s, names)

    def at(self, sent_s: float, got_s: float) -> set[str]:
        """Every version allowed at some moment of a span."""
        return {name for since, until, names in self.spans if since <= got_s and until >= sent_s for name in names}

    def strays(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The good answers of a version that no split allowed between sending and receiving."""
        return [
            found for found in outcomes if found.is_good and found.version not in self.at(found.sent_s, found.got_s)
        ]
