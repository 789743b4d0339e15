"""How good a version is on live traffic: measured on the labels that came, and estimated where they did not yet."""
