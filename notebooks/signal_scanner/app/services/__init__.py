"""What the backend does, apart from HTTP."""
