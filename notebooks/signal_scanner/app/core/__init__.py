"""Settings, passwords and tokens."""
