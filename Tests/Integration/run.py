"""Runs the integration suites and prints `N passed, N failed` as the last line.

Usage: python3 Tests/Integration/run.py [MODULE[.CLASS[.TEST]]...]
"""

import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class Result(unittest.TextTestResult):
    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed = getattr(self, "passed", 0) + 1

    def getDescription(self, test):
        return f"{test.id()}"


def main(directory=HERE):
    sys.path.insert(0, directory)
    loader = unittest.TestLoader()
    names = sys.argv[1:]
    suite = loader.loadTestsFromNames(names) if names else loader.discover(
        directory, pattern="test_*.py", top_level_dir=directory)
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = getattr(result, "passed", 0)
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{passed} passed, {failed} failed{skipped}")
    sys.exit(1 if failed or passed == 0 else 0)


if __name__ == "__main__":
    main()
