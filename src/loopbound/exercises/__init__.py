"""Exercises: written once in ``solutions/``, released to ``exercises/``, and proven."""
