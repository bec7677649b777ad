"""The ground: what the system stands on, and a whole month of it on one machine."""
