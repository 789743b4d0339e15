"""Models: what a task is, its schema and signature, and the artifact that a version is made of."""
