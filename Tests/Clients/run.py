"""Runs the suites that use other people's clients: SDKs, S3 tools, fuzzers. The last line is `N passed, N failed`.

Usage: .build/clients/bin/python Tests/Clients/run.py [MODULE[.CLASS[.TEST]]...]      after scripts/install-clients
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# The harness that starts nodes is that of the integration suites.
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "Integration"))

from run import main  # noqa: E402

if __name__ == "__main__":
    main(HERE)
