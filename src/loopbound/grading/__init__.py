"""Grading: reads a learner's notebook, executes its answers in a kernel of its own in a sandbox,
scores what the checks observed.
"""
