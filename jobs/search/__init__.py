"""Search: what is proposed, what is stopped, what a trial trains, and what is kept of it so that a search goes on."""
