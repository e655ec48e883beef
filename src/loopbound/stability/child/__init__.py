"""What runs in the interpreter of the project."""
