"""The hands: every side effect lives here, and nothing decides here."""
