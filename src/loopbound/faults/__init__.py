"""The catalogue of faults, and `explain`, which reads an error's text by it.

Needs the standard library only, and Python 3.10 or newer; imports nothing of the course.
"""
