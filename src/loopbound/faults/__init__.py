"""The catalogue of faults, and `explain`, which reads an error's text by it.

Needs the standard library only; imports nothing of the course.
"""
