"""The demo's clients: ask the endpoint over HTTP for one image at a time, and count what was right."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from .camera import Images

CLIENTS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What some requests gave; `versions` counts the answers of each version."""

    requests: int
    right: int
    failed: int
    versions: dict[str, int]
    wall_s: float

    @property
    def accuracy(self) -> float:
        """Share of the requests that were answered with the true digit."""
        return self.right / self.requests


def ask(url: str, images: Images, requests: int) -> Asked:
    """Send requests of one image each, round and round over the images, from a few clients at once."""
    began_s = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = [range(client, requests, CLIENTS) for client in range(CLIENTS)]
        answers = [answer for part in pool.map(lambda share: _ask_all(url, images, share), shares) for answer in part]
    versions = Counter(version for _, version in answers if version)
    return Asked(
        requests,
        sum(right for right, _ in answers),
        sum(not version for _, version in answers),
        dict(versions),
        time.monotonic() - began_s,
    )


class Traffic:
    """Requests that go on in the background, at a steady pace, until they are stopped."""

    def __init__(self, url: str, images: Images, requests_per_s: float) -> None:
        self._url, self._images, self._pause_s = url, images, 1 / requests_per_s
        self._stop = threading.Event()
        self.versions: Counter[str] = Counter()
        self.failed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        place = 0
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stop.wait(self._pause_s):
                _, version = _ask_one(client, self._images, place % len(self._images.labels_N))
                place += 1
                if version:
                    self.versions[version] += 1
                else:
                    self.failed += 1


def _ask_all(url: str, images: Images, places: range) -> list[tuple[bool, str]]:
    with httpx.Client(base_url=url, timeout=30) as client:
        return [_ask_one(client, images, place % len(images.labels_N)) for place in places]


def _ask_one(client: httpx.Client, images: Images, place: int) -> tuple[bool, str]:
    """Whether the answer was right, and the version that gave it; no version where there was no answer."""
    tensor = {"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": images.pixels_NP[place].tolist()}
    try:
        answer = client.post("/v2/models/digits/infer", json={"inputs": [tensor]})
        if answer.status_code != 200:
            return False, ""
        body: dict[str, Any] = answer.json()
    except httpx.HTTPError:
        return False, ""
    return body["outputs"][0]["data"][0] == int(images.labels_N[place]), str(body["model_version"])
