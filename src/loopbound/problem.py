"""The one exception that is meant for people."""


class Problem(Exception):
    """A message for a person: what is wrong, where, and what to do, in one to three lines.

    The command line prints it as ``loopbound: <message>`` and exits with 1. Everything else that
    escapes is a defect of Loopbound and keeps its traceback.
    """
