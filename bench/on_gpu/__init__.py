"""The sections of bench/gpu.py."""
