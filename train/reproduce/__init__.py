"""The papers' experiments: the demo, the table beside published numbers."""
