"""What belongs to one learner: predictions, progress, and what checks an answer in a cell or at the
prompt.
"""
