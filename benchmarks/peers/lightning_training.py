"""Trains the same perceptron by Lightning, and prints the rows a second of each epoch but the first.

Usage: lightning_training.py TABLE EPOCHS BATCH HIDDEN
"""

import json
import logging
import sys
import time
import warnings
from itertools import pairwise

import lightning
import torch
import training_rows
from torch import nn

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Perceptron(lightning.LightningModule):
    """The model, and when each epoch ended."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        self.ends = []

    def training_step(self, batch, _):
        """The loss of a batch."""
        x, y = batch
        return nn.functional.cross_entropy(self.layers(x), y)

    def on_train_epoch_end(self) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def configure_optimizers(self):
        """As rayloop does by default."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=1e-4)


torch.set_num_threads(1)
table, epochs, batch, hidden = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
loader, rows, features = training_rows.load(table, batch)
module = Perceptron(features, hidden)
trainer = lightning.Trainer(
    max_epochs=epochs + 1,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, loader)
print(json.dumps([rows / (end - begin) for begin, end in pairwise(module.ends)]))
