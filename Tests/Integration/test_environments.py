"""The platform's environments: the matrix that the files hold, and that what they say has its effect."""

import json
import re
import unittest

from harness import edge, wait_until
from projects import Project

MATRIX = {
    "domain": ("localhost", "staging.mustbeviral.example", "mustbeviral.example"),
    "log.level": ("debug", "info", "error"),
    "monitoring": ("basic", "full", "full"),
    "cache_ttl": ("60s", "5m", "1h"),
    "ratelimit_client.limit": (1000, 500, 100),
    "ratelimit_client.period": ("1h", "1h", "1h"),
    **{f"workers.{worker}.isolates.{key}": values
       for worker in ("api-gateway", "auth-service", "user-service", "content-service", "analytics-service")
       for key, values in (("min", (2, 4, 8)), ("max", (4, 8, 16)))},
    "deploy.steps": ([100], [100], [5, 25, 50, 100]),
    "deploy.bake": ("0s", "30s", "2m"),
    "deploy.monitor": ("0s", "1m", "5m"),
    "deploy.smoke": ("optional", "required", "required"),
    "deploy.backup": ("bookmark", "bookmark", "full"),
    "keep_warm": ("1m", "5m", "10m"),
}
SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
"""


class Matrix(unittest.TestCase):
    def test_each_environment_has_its_column(self):
        for index, name in enumerate(("dev", "staging", "production")):
            shown = edge("config", "show", name, "--json")
            self.assertEqual(shown.returncode, 0, shown.stderr)
            settings = {item["path"]: item["value"] for item in json.loads(shown.stdout)}
            self.assertEqual({path: settings.get(path) for path in MATRIX}, {path: row[index] for path, row in MATRIX.items()})

    def test_all_bind_the_same_stores_and_each_has_its_own_state(self):
        lists = []
        for name in ("dev", "staging", "production"):
            settings = {item["path"]: item["value"] for item in json.loads(edge("config", "show", name, "--json").stdout)}
            lists.append({path: value for path, value in settings.items()
                          if any(part in path for part in (".d1.", ".kv.", ".r2.", ".queues.produce."))})
        self.assertGreaterEqual(len(lists[0]), 8)
        self.assertEqual(lists[0], lists[1])
        self.assertEqual(lists[1], lists[2])


class SmokeTests(unittest.TestCase):
    def test_the_platform_answers_what_its_smoke_tests_ask(self):
        settings = json.loads(edge("config", "show", "dev", "--json").stdout)
        tests = {}
        for item in settings:
            if found := re.match(r"workers\.([\w-]+)\.smoke\[(\d+)\]\.(\w+)$", item["path"]):
                tests.setdefault((found[1], int(found[2])), {})[found[3]] = item["value"]
        self.assertGreaterEqual(len(tests), 4)
        with Project(dev_vars=f"JWT_KEY={'k' * 40}\n") as project, project.dev("--no-watch") as node:
            for place, test in tests.items():
                answer = node.get(test["get"], host="localhost")
                self.assertEqual(answer.status, test.get("status", 200), place)
                self.assertIn(test.get("contains", ""), answer.text, place)


class Effects(unittest.TestCase):
    def test_a_client_has_so_many_requests_in_a_while(self):
        dev = 'format = 1\nratelimit_client = { limit = 3, period = "1h" }\n'
        with Project(SHAPE, {"dev": dev}, products=["HelloWorker"]) as project, project.dev() as node:
            self.assertEqual([node.get("/", host="localhost").status for _ in range(3)], [200] * 3)
            refused = node.get("/", host="localhost")
            self.assertEqual(refused.status, 429)
            self.assertIn("1015", refused.text)
            # Until the first of the three is an hour old.
            self.assertTrue(0 < int(refused.header("Retry-After")) <= 3600, refused.header("Retry-After"))
            # What the node answers itself isn't counted.
            self.assertEqual(node.get("/cdn-cgi/trace", host="localhost").status, 200)

    def test_what_is_wrong_with_it_is_said(self):
        for text, finding in (
                ("{ limit = 3 }", '"period" is missing'), ('{ period = "1h" }', '"limit" is missing'),
                ('{ limit = 0, period = "1h" }', "expected integer 1"), ('{ limit = 1, period = "2d" }', "1d"),
                ('{ limit = 1, period = "1500ms" }', "whole seconds"), ('{ limit = 1, period = "1h", each = 1 }', "each")):
            with Project(SHAPE, {"dev": f"format = 1\nratelimit_client = {text}\n"}) as project:
                done = edge("check", cwd=project.directory)
                self.assertEqual(done.returncode, 2, text)
                self.assertIn("environments/dev.toml:2:", done.stderr)
                self.assertIn(finding, done.stderr)
        with Project(SHAPE, {"dev": 'format = 1\nmonitoring = "ful"\n'}) as project:
            self.assertIn("monitoring", edge("check", cwd=project.directory).stderr)

    def test_monitoring_says_what_metrics_there_are(self):
        for level, present in (("basic", False), ("full", True)):
            with Project(SHAPE, {"dev": f'format = 1\nmonitoring = "{level}"\n'}, products=["HelloWorker"]) as project:
                with project.dev() as node:
                    wait_until(lambda: node.get("/", host="localhost").status == 200, what="an answer")
                    metrics = node.request("GET", "/metrics", port=node.control_port).text
                    self.assertIn("edge_requests_total ", metrics)
                    self.assertEqual('edge_isolates{tenant="t",worker="hello"}' in metrics, present, metrics)


if __name__ == "__main__":
    unittest.main()
