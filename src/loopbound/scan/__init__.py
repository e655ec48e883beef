"""The scan: a static look at a project for loops that cross, which runs nothing of it.

Needs the standard library only; imports nothing of the course.
"""
