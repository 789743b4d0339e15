"""Trains the same perceptron by Accelerate and a DataLoader, and prints the rows a second of each epoch but the first.

Usage: accelerate_training.py TABLE EPOCHS BATCH HIDDEN
"""

import json
import sys
import time
from itertools import pairwise

import torch
import training_rows
from accelerate import Accelerator
from torch import nn

torch.set_num_threads(1)
table, epochs, batch, hidden = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
loader, rows, features = training_rows.load(table, batch)
accelerator = Accelerator(cpu=True)
module = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 2))
optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-4)
module, optimizer, loader = accelerator.prepare(module, optimizer, loader)
ends = []
for _ in range(epochs + 1):
    for x, y in loader:
        optimizer.zero_grad()
        accelerator.backward(nn.functional.cross_entropy(module(x), y))
        optimizer.step()
    ends.append(time.perf_counter())
print(json.dumps([rows / (end - begin) for begin, end in pairwise(ends)]))
