"""What runs and stays: the edge, version apps, wire protocols, capture."""
