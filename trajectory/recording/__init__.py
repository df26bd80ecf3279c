"""The recorder: what decides when, and the threads that write."""
