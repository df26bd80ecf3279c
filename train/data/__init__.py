"""Data sets on the device."""
