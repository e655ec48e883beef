"""The program that runs in a suite's own process.

`loopbound_child.py` stands alone: it imports nothing from Loopbound.
"""
