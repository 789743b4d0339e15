"""An object store on 127.0.0.1 that a test stops and starts: moto's S3 server, whose objects outlive a stop.

It is a process of its own: each line that comes in, `start` or `stop`, is done and answered by the same line.
"""

from __future__ import annotations

import sys
import urllib.request

from moto.server import ThreadedMotoServer

BUCKET = "bucket"


def main(port: int) -> None:
    """Do what is asked for until nobody asks."""
    server = None
    for line in sys.stdin:
        if line.strip() == "start":
            server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
            server.start()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=10).close()
        elif server is not None:
            server.stop()
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
