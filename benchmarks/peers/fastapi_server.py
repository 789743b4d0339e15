"""The model behind bare FastAPI: one process, plain JSON, uvicorn with uvloop and httptools.

Usage: python fastapi_server.py PORT
"""

import sys

import mlp
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Rows(BaseModel):
    """The body of a request."""

    x: list[list[float]]


app = FastAPI()
forward = mlp.load()


@app.post("/predict")
async def predict(rows: Rows) -> dict[str, list[list[float]]]:
    """Answer rows; on the event loop, which for a model this small is faster than a thread."""
    return {"probabilities": forward(rows.x)}


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
