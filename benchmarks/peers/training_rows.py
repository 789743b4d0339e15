"""The benchmark's training table as the peers' documentation loads one: a TensorDataset and a DataLoader."""

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, TensorDataset


def load(path: str, batch: int) -> tuple[DataLoader, int, int]:
    """A loader of shuffled batches, the rows of an epoch, and the number of features."""
    table = pq.read_table(path)
    names = [name for name in table.column_names if name != "label"]
    x = torch.from_numpy(np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(np.float32))
    y = torch.from_numpy(table.column("label").to_numpy().astype(np.int64))
    return DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True), len(y), len(names)
