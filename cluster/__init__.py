"""The Ray cluster: start, connect, submit jobs, scale, describe."""
