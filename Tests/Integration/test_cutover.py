"""Cutovers under load: sequence-checked clients of every kind notice nothing but that another release answers."""

import os
import subprocess
import time
import unittest

from harness import PRODUCTS, Node, product, wait_until
from load import Requester
from prober import MIGRATION, Prober, shape
from projects import Project

# More of them make a soak: `make soak`.
CUTOVERS = int(os.environ.get("EDGE_CUTOVERS", 50))
STAGING = """format = 1
domain = "localhost"
listen = ["127.0.0.1:8787"]
keep_warm = "2s"
[deploy]
steps = [100]
bake = "0s"
monitor = "0s"
smoke = "optional"
"""


class Dev(unittest.TestCase):
    """`edge dev` takes up each saved file."""

    seconds = 60
    cutovers = 12

    def test_saving_a_file_drops_no_request(self):
        with Project(shape(0)) as project:
            project.write("migrations/notes/0001_notes.sql", MIGRATION)
            with project.dev("--no-log-requests") as node, Prober(node.port) as prober:
                for number in range(1, self.cutovers + 1):
                    project.write("wrangler-like.toml", shape(number))
                    wait_until(lambda: str(number) in prober.releases, 60, lambda: f"release {number}\n{node.log_text()[-2000:]}")
                prober.__exit__()
                prober.check(self, wait_until)


class Deployed:
    """A node of staging that serves a project, and `edge` commands of its folder. A context manager."""

    def __init__(self, environment=STAGING, first=0, **changes):
        self.project = Project(shape(first, **changes), {"staging": environment})
        self.project.write("migrations/notes/0001_notes.sql", MIGRATION)
        self.node = Node(
            "serve", "--environment", "staging", "--products", PRODUCTS, "--no-log-requests", cwd=self.project.directory,
            state=self.project.path("state/staging"))

    def __enter__(self):
        self.node.start()
        return self

    def __exit__(self, *_):
        self.node.__exit__()
        self.project.__exit__()

    def run(self, *arguments, code=0):
        """What the command prints; `code` is the exit code that it must have."""
        done = subprocess.run(
            [product("edge"), *arguments, "--environment", "staging"], cwd=self.project.directory, capture_output=True,
            text=True, timeout=300)
        assert code is None or done.returncode == code, (
            f"edge {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.node.log_text()[-3000:]}")
        return done.stdout

    def deploy(self, release, *arguments, code=0, **changes):
        self.project.write("wrangler-like.toml", shape(release, **changes))
        return self.run("deploy", "--products", PRODUCTS, *arguments, code=code)

    def releases(self, count):
        """What answers so many new connections."""
        seen = set()
        for _ in range(count):
            requester = Requester(self.node.port)
            seen.add(requester.request("GET", "/self", headers={"Host": "localhost"})[1].decode())
            requester.close()
        return seen


class Deploy(unittest.TestCase):
    """`edge deploy` to a node that is asked all the time."""

    seconds = 150

    def test_probe_1_no_request_notices_a_cutover(self):
        with Deployed() as platform, Prober(platform.node.port) as prober:
            for number in range(1, CUTOVERS + 1):
                platform.deploy(number)
                self.assertEqual(platform.releases(3), {str(number)}, "the release that was active answers no more")
            prober.__exit__()
            prober.check(self, wait_until)

    def test_probe_6_a_release_that_cannot_start_changes_nothing(self):
        with Deployed() as platform, Prober(platform.node.port) as prober:
            platform.deploy(1, code=1, front='CRASHES = "yes"')
            self.assertEqual(platform.releases(5), {"0"})
            platform.deploy(2)
            self.assertEqual(platform.releases(5), {"2"})
            wait_until(lambda: "2" in prober.releases, 30, "all clients at the second release")
            prober.__exit__()
            prober.check(self, wait_until)
            self.assertEqual(set(prober.releases), {"0", "2"})

    def test_probe_17_a_rollback_loses_no_request_and_no_data(self):
        with Deployed(STAGING.replace('"2s"', '"5m"')) as platform, Prober(platform.node.port) as prober:
            for number in range(1, 6):
                platform.deploy(number)
                platform.run("rollback", "--yes")
                self.assertEqual(platform.releases(3), {str(number - 1)})
                platform.deploy(number, "--message", "again")
            prober.__exit__()
            prober.check(self, wait_until)

    def test_a_split_gives_each_request_one_release(self):
        steps = STAGING.replace("[100]", "[50, 100]").replace('bake = "0s"', 'bake = "3s"')
        with Deployed(steps) as platform, Prober(platform.node.port) as prober:
            started = time.monotonic()
            platform.deploy(1)
            prober.__exit__()
            prober.check(self, wait_until)
            self.assertEqual(set(prober.releases), {"0", "1"})
            self.assertGreater(time.monotonic() - started, 3, "the bake was waited for")


if __name__ == "__main__":
    unittest.main()
