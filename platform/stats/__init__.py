"""Mergeable profiles of tables and the drift statistics of two profiles."""
