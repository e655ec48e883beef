"""Grading: reads a learner's notebook, executes its answers in a kernel of its own within walls,
scores what the checks observed.
"""
