"""When one run has travelled as far as another."""
