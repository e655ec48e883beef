"""Stability: a suite in its own order, reversed and in random orders, and the tests to blame.

Needs the standard library only; imports nothing of the course. The suite
needs its pytest.
"""
