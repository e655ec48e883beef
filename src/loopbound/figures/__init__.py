"""Drawings of records and results, as SVG with alt text.

They know nothing of how their data came about.
"""

from loopbound.figures.bars import cost_bars
from loopbound.figures.grid import outcome_grid, scope_matrix
from loopbound.figures.owners import owners
from loopbound.figures.queue import pool_queue
from loopbound.figures.schedule import schedule
from loopbound.figures.style import Figure
from loopbound.figures.timeline import timeline
from loopbound.figures.tree import decision_tree
from loopbound.figures.verdicts import verdict_table
from loopbound.figures.waiting import waiting_chain

__all__ = [
    "Figure",
    "cost_bars",
    "decision_tree",
    "outcome_grid",
    "owners",
    "pool_queue",
    "schedule",
    "scope_matrix",
    "timeline",
    "verdict_table",
    "waiting_chain",
]
