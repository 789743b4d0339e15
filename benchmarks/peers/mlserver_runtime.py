"""The model as a runtime of MLServer, named as `implementation` in model-settings.json."""

import mlp
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Mlp(MLModel):
    """Decodes by MLServer's NumPy codec, computes, encodes."""

    async def load(self) -> bool:
        """Load the weights."""
        self._forward = mlp.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer rows."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        shares = np.asarray(self._forward(rows), dtype=np.float32)
        output = NumpyCodec.encode_output(name="probabilities", payload=shares)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
