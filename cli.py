"""The `rayloop` command: one thin verb each, no logic."""

import click


@click.group()
def main() -> None:
    """Closes the machine-learning loop on one Ray cluster."""
