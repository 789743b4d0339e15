"""The demo: the whole loop on real images, told as it happens. Nothing in it is special to the demo but its data."""

from .run import run_demo

__all__ = ["run_demo"]
