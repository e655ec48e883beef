"""Notebook files: their normal form, running them, comparing what came out, and the rules for the
whole set.
"""
