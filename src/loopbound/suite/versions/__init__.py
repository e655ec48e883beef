"""What differs by version, as it was observed on that version.

`loopbound versions` runs suites in environments of other versions and keeps what it saw in
``notebooks/signal_scanner/versions/observed.json``; lessons read it from here.

>>> [(row.versions["pytest-asyncio"], row.observed) for row in observed("mode when unset")]
[('0.18.3', 'legacy'), ('0.19.0', 'strict'), …]
"""

from loopbound.suite.versions.observed import Row, expect_here, observed

__all__ = ["Row", "expect_here", "observed"]
