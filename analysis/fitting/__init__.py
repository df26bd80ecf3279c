"""The law and its rivals, estimated from distance curves."""
