"""The edge: an HAProxy of ours in front of Ray Serve that picks the version of each request."""
