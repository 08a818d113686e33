"""What the node counts and says by itself: rate limits and the version of a worker."""

import json
import os
import time
import unittest

from harness import Node, edge, product, wait_until
from projects import Project

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*"]
ratelimits = [{ binding = "LIMIT", limit = 5, period = 60, namespace = "shared" }]
version_metadata = { binding = "VERSION" }
isolates = { min = 2, max = 2, concurrency = 1 }
[workers.other]
product = "StoreWorker"
routes = ["other.{domain}/*"]
ratelimits = [
    { binding = "LIMIT", limit = 5, period = 60, namespace = "shared" },
    { binding = "PER_IP", key = "ip", limit = 7, period = 60 },
]
"""
DEV = """format = 1
[workers.store]
ratelimits.LIMIT.limit = 5
[workers.other]
ratelimits.LIMIT.limit = 5
ratelimits.PER_IP.limit = 7
"""


class StoreCalls(unittest.TestCase):
    def test_an_event_has_a_thousand_kv_operations_and_a_bulk_get_is_one(self):
        shape = SHAPE[:SHAPE.index("ratelimits")] + 'kv = [{ binding = "KV", resource = "things" }]\n'
        for limits in ["", "limits = { subrequests = 5 }\n"]:
            with Project(shape + limits, {"dev": "format = 1\n"}) as project, project.dev("--no-log-requests") as node:
                for number, status in [(1000, 200), (1001, 500), (1000, 200)]:
                    for operation in ["kv-get", "kv-get-many"]:
                        answer = node.get(f"/bench/{operation}/{number}/4", host="localhost")
                        self.assertEqual(answer.status, status, answer.text)
                node.wait_for_log("Too many subrequests.")


class KVSettings(unittest.TestCase):
    def test_the_environment_limits_writes_and_bytes(self):
        shape = SHAPE[:SHAPE.index("ratelimits")] + 'kv = [{ binding = "KV", resource = "things" }]\n'
        dev = 'format = 1\nkv = { write_rate_limit = true, bytes_max = "10KiB" }\n'
        with Project(shape, {"dev": dev}) as project, project.dev("--no-log-requests") as node:
            self.assertEqual(node.request("PUT", "/kv/large", b"x" * 10_240, host="localhost").status, 500)
            node.wait_for_log("KV PUT failed: 507 Storage Limit Exceeded")
            answers = [node.request("PUT", "/kv/key", b"x", host="localhost").status for _ in range(20)]
            self.assertEqual(answers[0], 200)
            self.assertIn(500, answers)
            node.wait_for_log("KV PUT failed: 429 Too Many Requests")


class RateLimitBinding(unittest.TestCase):
    def test_probe_17_the_sixth_of_five_is_refused(self):
        with Node("run", product("StoreWorker"), "--ratelimit", "LIMIT=5/10") as node:
            answers = [node.get("/limit/a").text for _ in range(6)]
            self.assertEqual(answers, ["true 4", "true 3", "true 2", "true 1", "true 0", "false 0"])
            self.assertEqual(node.get("/limit/b").text, "true 4")
            self.assertEqual(node.get("/limit-error/513").text, "invalid key: it has 513 bytes, at most 512 are allowed")
            self.assertEqual(node.get("/limit-error/512").text, "true")

    def test_probe_17_other_periods_are_refused(self):
        ended = edge("run", product("StoreWorker"), "--ratelimit", "LIMIT=5/30", "--listen", "127.0.0.1:0",
                     "--state", os.path.join(self.enterContext(Project(SHAPE)).directory, "state"))
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn("unsupported period: 30", ended.stderr)

    def test_a_namespace_is_shared_by_all_isolates_workers_and_releases(self):
        with Project(SHAPE, {"dev": DEV}) as project, project.dev() as node:
            first = [node.get("/limit/k").text for _ in range(3)]
            second = [node.get("/limit/k", host="other.localhost").text for _ in range(3)]
            self.assertEqual(first + second, ["true 4", "true 3", "true 2", "true 1", "true 0", "false 0"])
            # A new release begins no new window.
            project.edit("environments/dev.toml", "PER_IP.limit = 7", "PER_IP.limit = 8")
            node.wait_for_log("previous=dev-1")
            self.assertEqual(node.get("/limit/k").text, "false 0")
            self.assertEqual(node.get("/limit/other").text, "true 4")


class RequestLimits(unittest.TestCase):
    def assertLimited(self, answer):
        self.assertEqual(answer.status, 429, answer.text)
        self.assertIn("error code: 1015", answer.text)
        self.assertIn(int(answer.header("Retry-After")), range(1, 61))
        self.assertEqual(answer.header("Cache-Control"), "private, no-store")

    def test_the_node_refuses_a_client_before_the_worker_sees_it(self):
        with Project(SHAPE, {"dev": DEV}) as project, project.dev("--no-watch") as node:
            statuses = [node.get("/nothing", host="other.localhost").status for _ in range(7)]
            self.assertEqual(statuses, [404] * 7)
            self.assertLimited(node.get("/nothing", host="other.localhost"))
            # A body that was never asked for is no reason to answer otherwise, and no header makes another client.
            forged = {"CF-Connecting-IP": "9.9.9.9", "X-Forwarded-For": "9.9.9.9"}
            self.assertLimited(
                node.request("POST", "/points", body=b"x" * 100_000, host="other.localhost", headers=forged))
            # Other workers have no such limit, and the node's own paths have none.
            self.assertEqual(node.get("/nothing").status, 404)
            self.assertEqual(node.get("/__edge/health/live", host="other.localhost").status, 200)

    def test_a_trusted_proxy_speaks_for_its_clients(self):
        dev = DEV.replace("format = 1", 'format = 1\ntrusted_proxies = ["127.0.0.1"]')
        with Project(SHAPE, {"dev": dev}) as project, project.dev("--no-watch") as node:
            def status(client):
                return node.get("/nothing", host="other.localhost", headers={"X-Forwarded-For": client}).status
            self.assertEqual([status("192.0.2.1") for _ in range(8)], [404] * 7 + [429])
            self.assertEqual(status("192.0.2.2"), 404)
            # One who has an IPv6 address has all of its network.
            self.assertEqual([status(f"2001:db8::{number}") for number in range(1, 9)], [404] * 7 + [429])
            self.assertEqual(status("2001:db8:0:1::1"), 404)

    def test_a_client_has_a_limit_for_the_whole_node(self):
        dev = DEV.replace("format = 1", "format = 1\nratelimit_global = 3")
        with Project(SHAPE, {"dev": dev}) as project, project.dev("--no-watch") as node:
            answers = [node.get("/nothing") for _ in range(200)]
            refused = [answer for answer in answers if answer.status == 429]
            self.assertTrue(refused)
            self.assertEqual(refused[0].header("Retry-After"), "1")
            self.assertIn("error code: 1015", refused[0].text)
            self.assertEqual([answer.status for answer in answers[:3]], [404] * 3)
            self.assertEqual(node.get("/__edge/health/live").status, 200)
            self.assertEqual(node.request("GET", "/status", port=node.control_port).status, 200)


class Headroom(unittest.TestCase):
    WARNING = "worker has used "

    def warnings(self, node):
        return [line for line in node.log_text().splitlines() if self.WARNING in line]

    def test_cpu_time_is_warned_of_at_80_percent_and_only_once(self):
        with Node("run", product("HostileWorker"), "--cpu", "1s", "--no-log-requests") as node:
            for _ in range(2):
                self.assertEqual(node.request("POST", "/loop", body=b"x").status, 503)
                wait_until(lambda: node.get("/hello").status == 200, 30, "the worker's next answer")
            told = self.warnings(node)
            self.assertEqual(len(told), 1, told)
            self.assertRegex(told[0], r"used [89]\d % of a limit: \d+ of 1000 ms of CPU time .*worker=hostile-worker .*limit=cpu")
            self.assertIn('event="channel ', told[0])

    def test_calls_are_warned_of_with_binding_and_operation_in_dev(self):
        dev = "format = 1\n"
        shape = SHAPE.replace("version_metadata", 'kv = [{ binding = "KV", resource = "kv" }]\nversion_metadata')
        with Project(shape, {"dev": dev}) as project, project.dev("--no-watch") as node:
            self.assertEqual(node.get("/bench/kv-get/799/1").status, 200)
            self.assertEqual(self.warnings(node), [])
            for _ in range(3):
                self.assertEqual(node.get("/bench/kv-get/1000/1").status, 200)
            self.assertIn("Too many subrequests.", node.get("/bench/kv-get/1001/1").text)
            told = self.warnings(node)
            self.assertEqual(len(told), 1, told)
            self.assertIn("used 80 % of a limit: 800 of 1000 calls of stores", told[0])
            for field in ("worker=store ", "tenant=t", "limit=storeCalls", "binding=KV", "operation=get"):
                self.assertIn(field, told[0] + " ")


class Databases(unittest.TestCase):
    FREE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*"]
limits = { profile = "cloudflare-free" }
isolates = { min = 1, max = 1 }
d1 = [%s]
"""

    def shape(self, first):
        return self.FREE % ", ".join(
            f'{{ binding = "{"DB" if number == first else f"DB{number}"}", resource = "d{number}" }}'
            for number in range(first, first + 10))

    def test_an_eleventh_database_of_a_free_tenant_is_refused_with_its_release(self):
        with Project(self.shape(1), {"dev": "format = 1\n"}) as project, project.dev() as node:
            self.assertEqual(node.request("POST", "/d1/exec", body=b"CREATE TABLE t(x)").text, "1")
            # The first is there, and ten others would make eleven.
            project.write("wrangler-like.toml", self.shape(2))
            node.wait_for_log("System limit reached: databases per account (10)")
            self.assertIn("d11", node.log_text())
            self.assertEqual(node.request("POST", "/d1/exec", body=b"INSERT INTO t VALUES (1)").text, "1")
            project.write("wrangler-like.toml", self.shape(1))


class RequestsOfTheDay(unittest.TestCase):
    def test_they_are_counted_through_restarts(self):
        shape = SHAPE[:SHAPE.index("ratelimits")] + 'limits = { profile = "cloudflare-free" }\n'
        with Project(shape, {"dev": "format = 1\n"}) as project:
            with project.dev() as node:
                for _ in range(3):
                    self.assertEqual(node.get("/nowhere").status, 404)
                self.assertEqual(node.stop(), 0)
            path = project.path("state/t/requests")
            with open(path) as file:
                day, count = map(int, file.read().split())
            self.assertEqual(count, 3)
            with open(path, "w") as file:
                file.write(f"{day} 99999\n")
            with project.dev() as node:
                statuses = [node.get("/nowhere").status for _ in range(2)]
            if int(time.time()) // 86_400 == day:  # Another day begins at none.
                self.assertEqual(statuses, [404, 429])


class VersionMetadata(unittest.TestCase):
    def test_version_metadata_is_that_of_the_version_and_outlives_the_node(self):
        with Project(SHAPE, {"dev": DEV}) as project:
            with project.dev("--no-watch") as node:
                first = json.loads(node.get("/version").text)
                self.assertEqual(first[0], first[3])
                self.assertEqual(first[0], next(w["version"] for w in node.status()["workers"] if w["name"] == "store"))
                self.assertEqual(first[1], "")
                self.assertRegex(first[2], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ$")
                node.kill()
            with project.dev("--no-watch") as node:
                self.assertEqual(json.loads(node.get("/version").text), first)
            project.edit("environments/dev.toml", "[workers.store]\n", "[workers.store]\nvars.A = \"b\"\n")
            with project.dev("--no-watch") as node:
                second = json.loads(node.get("/version").text)
                self.assertNotEqual(second[0], first[0])
                self.assertGreater(second[2], first[2])


if __name__ == "__main__":
    unittest.main()
