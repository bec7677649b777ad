"""The story: what the calendar or a person can start, told as a list of steps."""
