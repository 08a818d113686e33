"""What `[simulate]` makes of a real node's stores: late reads and failures in dev, and a refusal in production."""

import unittest

from harness import edge
from projects import Project

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.near]
product = "StoreWorker"
routes = ["near.{domain}/*"]
kv = [{ binding = "KV", resource = "shared" }]
r2 = [{ binding = "R2", resource = "media" }]
[workers.far]
product = "StoreWorker"
routes = ["far.{domain}/*"]
kv = [{ binding = "KV", resource = "shared" }]
"""
SIMULATE = """
[simulate]
seed = 1
failures = 0
latency = "0s"
"""


class Simulation(unittest.TestCase):
    def test_kv_reads_are_stale_until_a_release_no_longer_simulates(self):
        with Project(SHAPE, {"dev": "format = 1\n" + SIMULATE}) as project, project.dev() as node:
            self.assertEqual(node.get("/kv/k", host="near.localhost").status, 404)
            self.assertEqual(node.request("PUT", "/kv/k", body=b"v", host="far.localhost").text, "stored")
            # The other worker doesn't know yet; what is stored is stored.
            self.assertEqual(node.get("/kv/k", host="near.localhost").status, 404)
            self.assertEqual(node.get("/kv/k", host="far.localhost").text, "v")
            project.write("environments/dev.toml", "format = 1\n")
            node.wait_for_log("previous=dev-1")
            self.assertEqual(node.get("/kv/k", host="near.localhost").text, "v")

    def test_failures_reach_the_handler_and_the_log_says_whose_they_are(self):
        dev = "format = 1\n" + SIMULATE.replace("failures = 0", "failures = 100")
        with Project(SHAPE, {"dev": dev}) as project, project.dev("--no-watch") as node:
            answer = node.get("/kv/k", host="near.localhost")
            self.assertEqual(answer.status, 500)
            self.assertIn("KV GET failed: 500 Internal Server Error", answer.text)
            answer = node.get("/r2/k", host="near.localhost")
            self.assertEqual(answer.status, 500)
            self.assertRegex(answer.text, r"get: .*\((10001|10043)\)")
            node.wait_for_log("simulated: kv get fails")
            self.assertIn("binding=near/KV", node.log_text())

    def test_production_refuses_to_simulate(self):
        production = 'format = 1\ndomain = "example.com"\nlisten = ["127.0.0.1:0"]\n' + SIMULATE
        with Project(SHAPE, {"production": production}) as project:
            for command in (["check"], ["serve", "--environment", "production", "--project", project.directory]):
                ended = edge(*command, cwd=project.directory)
                self.assertEqual(ended.returncode, 2, ended.stderr)
                self.assertIn("environments/production.toml:5:1: error: simulate:", ended.stdout + ended.stderr)


if __name__ == "__main__":
    unittest.main()
