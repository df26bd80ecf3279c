"""Other frameworks' trainings and checkpoints."""
