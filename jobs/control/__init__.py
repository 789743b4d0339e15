"""The control API behind the edge: deploying, splitting, scaling and tokens by HTTP, guarded by roles."""
