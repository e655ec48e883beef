"""Drawings of records and results, as SVG with alt text. They know nothing of how their data came about."""

from loopbound.figures.grid import outcome_grid, scope_matrix
from loopbound.figures.queue import pool_queue
from loopbound.figures.schedule import schedule
from loopbound.figures.style import Figure
from loopbound.figures.timeline import timeline

__all__ = ["Figure", "outcome_grid", "pool_queue", "schedule", "scope_matrix", "timeline"]
