"""The window: where people meet the system."""
