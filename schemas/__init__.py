"""The shapes: data on arrival, between stages, on leaving and at rest; nothing of ours is imported."""
