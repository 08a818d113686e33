"""Runs the integration suites and prints `N passed, N failed` as the last line.

Usage: python3 Tests/Integration/run.py [--jobs N] [MODULE[.CLASS[.TEST]]...]

With more than one job, the classes run beside each other, each in a process of its own: most of them wait for time to pass.
What fails then is repeated once with the machine to itself; one that passes only there is named as unsteady, and counts as passed.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time
import unittest
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
# More failures than these are no matter of the machine's load.
REPEATED_MAX = 5
LIMIT = 900


class Result(unittest.TextTestResult):
    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed = getattr(self, "passed", 0) + 1

    def getDescription(self, test):
        return f"{test.id()}"


def load(directory, names):
    sys.path.insert(0, directory)
    loader = unittest.TestLoader()
    return loader.loadTestsFromNames(names) if names else loader.discover(
        directory, pattern="test_*.py", top_level_dir=directory)


def summary(passed, failed, skipped):
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def run_here(suite):
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = getattr(result, "passed", 0)
    print(summary(passed, failed, len(result.skipped)))
    return 1 if failed or passed == 0 else 0


def tests(suite):
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from tests(entry)
        else:
            yield entry


def classes(suite):
    """Their names, those first that take longest: a class may say how many seconds it takes about."""
    seconds = {}
    for test in tests(suite):
        kind = type(test)
        # A module that can't be imported is one test that says why.
        name = test.id() if kind.__module__.startswith("unittest") else f"{kind.__module__}.{kind.__qualname__}"
        name = name.replace("unittest.loader._FailedTest.", "")
        seconds[name] = getattr(kind, "seconds", seconds.get(name, 0) + 1)
    return sorted(seconds, key=lambda name: -seconds[name])


class Part:
    """One class, or one test, in a process of its own."""

    def __init__(self, script, name):
        self.name = name
        started = time.monotonic()
        try:
            process = subprocess.run(
                [sys.executable, script, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
            self.output = process.stdout.decode(errors="replace")
            ending = f"ended with status {process.returncode}"
        except subprocess.TimeoutExpired as expired:
            self.output = (expired.stdout or b"").decode(errors="replace")
            ending = f"did not end within {LIMIT} s"
        self.seconds = time.monotonic() - started
        lines = self.output.strip().splitlines()
        counts = COUNTS.match(lines[-1]) if lines else None
        if counts:
            self.passed, self.failed, self.skipped = (int(count or 0) for count in counts.groups())
            # A test may fail in several of its parts.
            self.failures = Counter(re.findall(r"^(?:FAIL|ERROR): (\S+)", self.output, re.MULTILINE))
        else:
            self.passed, self.failed, self.skipped, self.failures = 0, 1, 0, Counter([name])
            self.output += f"\n{name} {ending}\n"

    def told(self):
        start = self.output.find("\n=====")
        return self.output[start + 1 if start >= 0 else -6000:]


def repeat(script, part):
    """Runs what failed once more, and says by how much the counts change: those that passed, those that failed."""
    # Of a fixture of the class, or of a process that ended otherwise, all of it is repeated.
    isWhole = part.name in part.failures or not all(name.startswith(part.name) for name in part.failures)
    passed = failed = 0
    for name in [part.name] if isWhole else part.failures:
        other = Part(script, name)
        if other.failed or not other.passed:
            print(f"{name} failed again, alone:\n{other.told()}")
        elif isWhole:
            passed, failed = other.passed - part.passed, -part.failed
        else:
            passed, failed = passed + 1, failed - part.failures[name]
        if not other.failed:
            print(f"UNSTEADY: {name} failed beside others and passed alone")
    return passed, failed


def run_beside(script, names, jobs):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        parts = list(pool.map(lambda name: Part(script, name), names))
    for part in sorted(parts, key=lambda part: -part.seconds)[:12]:
        print(f"{part.seconds:6.1f} s  {part.name}")
    passed = sum(part.passed for part in parts)
    failed = sum(part.failed for part in parts)
    bad = [part for part in parts if part.failed]
    for part in bad:
        print(part.told())
    if failed <= REPEATED_MAX:
        for part in bad:
            change = repeat(script, part)
            passed, failed = passed + change[0], failed + change[1]
    print(summary(passed, failed, sum(part.skipped for part in parts)))
    return 1 if failed or passed == 0 else 0


def main(directory=HERE):
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    suite = load(directory, arguments.names)
    if arguments.jobs > 1:
        sys.exit(run_beside(os.path.abspath(sys.argv[0]), classes(suite), arguments.jobs))
    sys.exit(run_here(suite))


if __name__ == "__main__":
    main()
