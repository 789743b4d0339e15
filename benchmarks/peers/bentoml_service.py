"""The model as a BentoML service of one worker."""

import bentoml
import mlp


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, traffic={"timeout": 30})
class Mlp:
    """Holds the model."""

    def __init__(self) -> None:
        self._forward = mlp.load()

    @bentoml.api
    async def predict(self, x: list[list[float]]) -> list[list[float]]:
        """Answer rows, on the event loop."""
        return self._forward(x)
