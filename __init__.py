"""rayloop closes the machine-learning loop on one Ray cluster; importing it imports nothing else."""

__version__ = "0.1.0"
