"""What is measured of a model at an update, and where it lies."""
