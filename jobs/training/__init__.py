"""Training: the epoch loop (plain torch), its data, the Ray Train worker around it, and the job that starts it."""
