"""What is set for buckets on the control listener, and what workers see of it."""

import json
import unittest

from harness import Node, product, wait_until

ACCOUNT = "/client/v4/accounts/local"
DEFAULT = {"id": "Default Multipart Abort Rule", "enabled": True, "conditions": {},
           "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 604800}}}


class Buckets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node("run", product("StoreWorker"), "--kv", "KV", "--r2", "R2=bucket", "--consume", "changes").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()

    def ask(self, method, path, body=None, account=ACCOUNT):
        body = json.dumps(body) if body is not None and not isinstance(body, str) else body
        answer = self.node.request(
            method, account + path, body=body, port=self.node.control_port,
            headers={"Authorization": f"Bearer {self.node.operator_token()}"})
        return answer.status, answer.json()

    def result(self, method, path, body=None):
        status, answer = self.ask(method, path, body)
        self.assertEqual((status, answer["success"], answer["errors"]), (200, True, []))
        return answer["result"]

    def refused(self, status, code, method, path, body=None, account=ACCOUNT):
        found, answer = self.ask(method, path, body, account)
        self.assertEqual((found, answer["success"], answer["errors"][0]["code"]), (status, False, code), answer)
        return answer["errors"][0]["message"]

    def test_a_bucket_begins_with_one_rule_and_takes_others(self):
        path = "/r2/buckets/bucket/lifecycle"
        self.assertEqual(self.result("GET", path), {"rules": [DEFAULT]})
        rules = [{"id": "a", "enabled": False, "conditions": {"prefix": "x/"},
                  "deleteObjectsTransition": {"condition": {"type": "Date", "date": "2026-01-31T00:00:00.000Z"}},
                  "storageClassTransitions": [
                      {"condition": {"type": "Age", "maxAge": 60}, "storageClass": "InfrequentAccess"}]}]
        self.assertEqual(self.result("PUT", path, {"rules": rules}), {})
        self.assertEqual(self.result("GET", path), {"rules": rules})
        self.refused(400, 10040, "PUT", path, "{")
        self.assertIn("/rules/0/conditions must be a value", self.refused(
            400, 10040, "PUT", path, {"rules": [{"id": "a", "enabled": True}]}))
        self.assertIn("does nothing", self.refused(
            400, 10029, "PUT", path, {"rules": [{"id": "a", "enabled": True, "conditions": {}}]}))
        self.assertEqual(self.result("GET", path), {"rules": rules})
        self.assertEqual(self.result("PUT", path, {"rules": [DEFAULT]}), {})

    def test_a_locked_object_is_kept_from_workers(self):
        path = "/r2/buckets/bucket/lock"
        self.assertEqual(self.result("GET", path), {"rules": []})
        self.assertEqual(self.node.request("PUT", "/r2/kept/a", body=b"old").status, 200)
        rules = [{"id": "a", "enabled": True, "prefix": "kept/", "condition": {"type": "Indefinite"}}]
        self.result("PUT", path, {"rules": rules})
        self.assertEqual(self.result("GET", path), {"rules": rules})
        for method, body, action in [("PUT", b"new", "put"), ("DELETE", None, "delete")]:
            answer = self.node.request(method, "/r2/kept/a", body=body)
            self.assertEqual(answer.status, 500)
            self.node.wait_for_log(f"{action}: The object is locked by the bucket policy. (10069)")
        self.assertEqual(self.node.get("/r2/kept/a").text, "old")
        self.result("PUT", path, {"rules": []})
        self.assertEqual(self.node.request("DELETE", "/r2/kept/a").status, 200)

    def test_probe_28_a_rule_on_a_prefix_sends_messages(self):
        path = "/event_notifications/r2/bucket/configuration"
        self.refused(404, 11000, "PUT", path + "/queues/missing", {"rules": [{"actions": ["PutObject"]}]})
        self.refused(404, 11015, "GET", path + "/queues/changes")
        self.refused(404, 11015, "DELETE", path + "/queues/changes")
        rule = {"actions": ["PutObject", "DeleteObject"], "prefix": "img/", "description": "images"}
        self.result("PUT", path + "/queues/changes", {"rules": [rule]})
        self.assertIn("overlaps", self.refused(
            400, 10029, "PUT", path + "/queues/changes", {"rules": [{"actions": ["PutObject"], "suffix": ".png"}]}))
        self.refused(400, 10040, "PUT", path + "/queues/changes", {"rules": [{"actions": ["Put"]}]})
        [queue] = self.result("GET", path)["queues"]
        self.assertEqual(queue, self.result("GET", path + "/queues/changes"))
        self.assertEqual((queue["queueName"], rule.items() <= queue["rules"][0].items()), ("changes", True))
        for method, name in [("PUT", "img/1"), ("PUT", "x"), ("DELETE", "img/1"), ("DELETE", "x")]:
            body = b"value" if method == "PUT" else None
            self.assertEqual(self.node.request(method, f"/r2/{name}", body=body).status, 200)
        prefix = "seen/changes/"
        events = lambda: sorted(
            (json.loads(name.removeprefix(prefix)) for name in self.node.get(f"/kv-list?prefix={prefix}").json()["names"]),
            key=lambda event: event["action"])
        wait_until(lambda: len(events()) == 2, 30, "two messages")
        delete, put = events()
        self.assertEqual(put["object"], {"key": "img/1", "size": 5, "eTag": "2063c1608d6e0baf80249c42e2be5804"})
        self.assertEqual(delete["object"], {"key": "img/1"})
        self.assertEqual((put["account"], put["bucket"], put["action"]), ("local", "bucket", "PutObject"))
        self.result("DELETE", path + "/queues/changes", {"ruleIds": [queue["rules"][0]["ruleId"]]})
        self.assertEqual(self.result("GET", path), {"bucketName": "bucket", "queues": []})

    def test_usage_limits_and_verification(self):
        self.assertEqual(self.node.request("PUT", "/r2/counted", body=bytes(100_000)).status, 200)
        usage = self.result("GET", "/r2/buckets/bucket/usage")
        self.assertGreaterEqual(usage["payloadSize"], 100_000)
        self.assertEqual(self.result("GET", "/r2/usage"), usage)
        self.result("PUT", "/r2/buckets/bucket/limits", {"storedSizeMax": 0})
        self.assertEqual(self.result("GET", "/r2/buckets/bucket/limits"), {"storedSizeMax": 0})
        self.assertEqual(self.node.request("PUT", "/r2/more", body=b"x").status, 500)
        self.node.wait_for_log("put: Storage limit exceeded: the bucket may hold 0 bytes. (100101)")
        self.result("PUT", "/r2/buckets/bucket/limits", {})
        self.assertEqual(self.node.request("PUT", "/r2/more", body=b"x").status, 200)
        for method in ["GET", "POST"]:
            report = self.result(method, "/r2/verification?checksums=true")
            self.assertEqual((report["damaged"], report["repaired"], report["damage"]), (0, 0, []))
            self.assertGreaterEqual(report["objects"], 2)

    def test_what_is_not_there_is_refused(self):
        self.refused(404, 10006, "GET", "/r2/buckets/missing/lifecycle")
        self.refused(404, 10006, "PUT", "/r2/buckets/missing/lock", {"rules": []})
        self.refused(404, 10085, "GET", "/event_notifications/r2/missing/configuration")
        self.refused(405, 7001, "DELETE", "/r2/buckets/bucket/lifecycle")
        self.refused(405, 7001, "PUT", "/event_notifications/r2/bucket/configuration", {"rules": []})
        self.refused(403, 10000, "GET", "/r2/usage", account="/client/v4/accounts/nobody")
        # Whoever reaches the listener may not ask: it takes a token.
        self.assertEqual(self.node.get(ACCOUNT + "/r2/usage", port=self.node.control_port).status, 400)
        self.refused(404, 7000, "GET", "/r2/buckets/bucket/moon")
        # Nothing of it on the public listener.
        self.assertNotIn("success", self.node.get(ACCOUNT + "/r2/usage").text)


if __name__ == "__main__":
    unittest.main()
