"""What a run is: its configuration, recipes, files."""
