"""The loop that trains one recorded run."""
