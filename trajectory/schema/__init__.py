"""What a store says of a run: names, shapes, metadata."""
