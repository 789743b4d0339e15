"""The steady client: what is due when, what is sent again, and what is a failure; against a server of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import bodies
from client import Client, Outcome
from connection import run
from target import Target

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Rayloop-Version: 3\r\n\r\n{}"
REFUSED = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}"
BODY = bodies.v2()


def asked(answer: Callable[[int], bytes], requests: int, *, rate: float = 500, sends_again: bool = True) -> list:
    """What a client saw of a server that gives `answer(n)` to the n-th request; CUT closes the connection."""
    found: list[Outcome] = []
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(len(BODY))
                count += 1
                given = answer(count)
                writer.write(given)
                if given == CUT:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        target = Target(f"http://127.0.0.1:{port}/infer", BODY)
        await Client(target, rate, 2, found.append, sends_again=sends_again).run(requests)
        server.close()

    run(work())
    return found


def test_each_request_is_sent_once_and_named_by_its_version() -> None:
    found = asked(lambda _: GOOD, 20)
    assert [(one.status, one.version, one.sent_again) for one in found] == [(200, "3", 0)] * 20


def test_requests_are_due_at_the_rate() -> None:
    found = asked(lambda _: GOOD, 11, rate=50)
    due = sorted(one.due_s for one in found)
    assert due[-1] - due[0] >= 0.19  # ten periods of 20 ms; never earlier, whatever the machine does


def test_an_answer_other_than_200_is_a_failure_and_is_not_sent_again() -> None:
    found = asked(lambda number: REFUSED if number == 3 else GOOD, 10)
    assert sorted(one.status for one in found) == [200] * 9 + [503]
    assert sum(one.sent_again for one in found) == 0


def test_a_broken_connection_sends_the_request_again() -> None:
    found = asked(lambda number: CUT if number == 3 else GOOD, 10)
    assert [one.status for one in found] == [200] * 10
    assert sum(one.sent_again for one in found) == 1


def test_a_client_that_does_not_send_again_counts_a_failure() -> None:
    found = asked(lambda number: CUT if number == 3 else GOOD, 10, sends_again=False)
    (failed,) = [one for one in found if not one.is_good]
    assert (failed.status, failed.error) == (0, "IncompleteReadError")


def test_chunked_answers_are_read_to_their_end() -> None:
    found = asked(lambda number: CHUNKED if number % 2 else GOOD, 10)
    assert [one.status for one in found] == [200] * 10
