"""How a run gets onto a disk or an object store, and back."""
