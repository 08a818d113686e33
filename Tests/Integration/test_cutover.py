"""Cutovers under load: sequence-checked clients of every kind notice nothing but that another release answers."""

import unittest

from harness import wait_until
from projects import Project
from prober import MIGRATION, Prober, shape


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


if __name__ == "__main__":
    unittest.main()
