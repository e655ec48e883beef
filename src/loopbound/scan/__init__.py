"""The scan: a static look at a project for loops that cross, which runs nothing of it.

Needs the standard library only, and Python 3.10 or newer; imports nothing of the course.
"""
