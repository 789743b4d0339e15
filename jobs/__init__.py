"""What runs and ends: train, tune, evaluate, drift, pipeline; and the steward that starts it."""
