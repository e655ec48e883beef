"""`python -m loopbound` is the `loopbound` command."""

import sys

from loopbound.cli import main

if __name__ == "__main__":
    sys.exit(main())
