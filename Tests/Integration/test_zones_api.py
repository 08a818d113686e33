"""Zones, their caches, and rate limits over the REST API (spec runtime, sections 3 and 4; control-plane, section 1)."""

import unittest

from harness import wait_until
from projects import Project
from rest import Rest

SHAPE = """format = 1
tenant = "acme"
compatibility_date = "2026-08-01"
[workers.front]
product = "StoreWorker"
routes = ["a.test/*", "api.a.test/*", "b.test/*"]
cache = { enabled = true, ttl = "60s" }
ratelimits = [{ binding = "API", limit = 5, period = 10, namespace = "1001" }, { binding = "OWN", limit = 9, period = 60 }]
[workers.back]
product = "HelloWorker"
routes = ["c.test/*"]
ratelimits = [{ binding = "SAME", limit = 5, period = 10, namespace = "1001" }]
"""


class ZonesAPI(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.project = cls.enterClassContext(Project(SHAPE, {"dev": "format = 1\n"}))
        cls.node = cls.enterClassContext(cls.project.dev("--no-watch"))
        cls.rest = Rest(cls.node, "acme")

    def zone(self, name):
        return self.rest.result("GET", f"/zones?name={name}")[0]["id"]

    def token(self, group):
        return self.rest.result("POST", "/user/tokens", {"name": group, "policies": [{
            "effect": "allow", "resources": {"com.cloudflare.api.account.*": "*"},
            "permission_groups": [{"id": group}]}]})["value"]

    def test_zones_are_the_domains_of_routes(self):
        answer = self.rest.ask("GET", "/zones").json()
        self.assertEqual([zone["name"] for zone in answer["result"]], ["a.test", "b.test", "c.test"])
        self.assertEqual(answer["result_info"]["total_count"], 3)
        self.assertEqual(self.rest.ask("GET", "/zones?page=2").json()["result"], [])
        [account] = self.rest.result("GET", "/accounts")
        self.assertEqual(len(self.rest.result("GET", f"/zones?account.id={account['id']}&per_page=2")), 2)
        self.assertEqual(self.rest.result("GET", f"/zones?account.id={'0' * 32}"), [])
        zone = answer["result"][1]
        self.assertEqual(zone["account"], account)
        self.assertEqual(self.rest.result("GET", "/zones/" + zone["id"]), zone)
        self.assertEqual(self.rest.result("GET", "/zones/b.test"), zone)
        self.assertEqual(self.rest.failure("GET", "/zones/" + "0" * 32), (403, 10000))

    def test_a_purge_takes_the_right_to_purge(self):
        path = f"/zones/{self.zone('a.test')}/purge_cache"
        everything = {"purge_everything": True}
        self.assertEqual(self.rest.failure("POST", path, everything, token=self.token("cache:read")), (403, 10000))
        self.assertEqual(self.rest.ask("POST", path, everything, token=self.token("cache:edit")).status, 200)
        actions = [entry["action"]["type"] for entry in self.rest.result("GET", "audit_logs")]
        self.assertIn("cache.purge", actions)

    def test_statistics_of_one_zone_and_of_all(self):
        def get(host):
            return self.node.get("/counted/x", host=host).header("cf-cache-status")

        self.assertEqual([get("a.test"), get("a.test"), get("b.test")], ["MISS", "HIT", "MISS"])

        def statistics(zone):
            return {row["zone_name"]: row for row in self.rest.result("GET", f"/zones/{zone}/cache/statistics")}

        wait_until(lambda: statistics("acme").get("b.test", {}).get("entries") == 1, what="what b.test has")
        both = statistics("acme")
        self.assertEqual((both["a.test"]["answers"]["HIT"], both["a.test"]["answers"]["MISS"]), (1, 1))
        self.assertGreater(both["a.test"]["bytes"], 0)
        self.assertEqual(statistics(self.zone("b.test")), {"b.test": both["b.test"]})
        self.rest.result("POST", f"/zones/{self.zone('b.test')}/purge_cache", {"purge_everything": True})
        wait_until(lambda: statistics("acme")["b.test"]["entries"] == 0, what="the purge")
        self.assertEqual(statistics("acme")["a.test"]["entries"], both["a.test"]["entries"])

    def test_rate_limit_namespaces_and_who_binds_them(self):
        answer = self.rest.ask("GET", "workers/ratelimits")
        limits = answer.json()["result"]
        [shared] = [limit for limit in limits if limit["namespace_id"] == "1001"]
        # What counts: in dev, limits are ten times as high.
        self.assertEqual(shared, {"namespace_id": "1001", "limit": 50, "period": 10, "workers": ["back", "front"]})
        [own] = [limit for limit in limits if limit != shared]
        self.assertEqual((own["limit"], own["period"], own["workers"]), (90, 60, ["front"]))
        self.assertEqual(self.rest.ask("GET", "workers/ratelimits", token=self.token("workers:read")).status, 200)
        self.assertEqual(self.rest.failure("GET", "workers/ratelimits", token=self.token("kv:read")), (403, 10000))


if __name__ == "__main__":
    unittest.main()
