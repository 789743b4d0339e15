"""The model behind Ray Serve and FastAPI: one replica, on a Ray of its own, at the prefix of a rayloop version.

Which proxy Serve puts in front is told by Ray's own variables in the environment.
Usage: python ray_server.py PORT PREFIX TEMPORARY_FOLDER
"""

import sys
import time

import ray
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve


class Rows(BaseModel):
    """The body of a request."""

    x: list[list[float]]


app = FastAPI()


@serve.deployment(ray_actor_options={"num_cpus": 1}, max_ongoing_requests=256)
@serve.ingress(app)
class Model:
    """One process that holds the model."""

    def __init__(self) -> None:
        import mlp

        self._forward = mlp.load()

    @app.post("/v2/models/mlp/infer")
    async def predict(self, rows: Rows) -> dict[str, list[list[float]]]:
        """Answer rows, on the event loop."""
        return {"probabilities": self._forward(rows.x)}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=sys.argv[3], log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Model.bind(), name="mlp--v1", route_prefix=sys.argv[2])
    while True:
        time.sleep(60)
