"""What wrangler asks the REST API for beside what the SDK does, and whom it answers (spec control-plane.md, sections 2, 5 and 7)."""

import http.client
import json
import unittest

from harness import Node, product
from raw_websocket import TEXT, RawWebSocket
from rest import Rest
from test_scripts_api import code, form


class Wrangler(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests"))
        cls.api = Rest(cls.node)
        for name in ("one", "two"):
            body, kind = form({"main_module": "worker"}, ("worker", code()))
            answer = cls.api.ask("PUT", f"workers/scripts/{name}", body, Content_Type=kind)
            assert answer.status == 200, answer.text

    def test_who_asks(self):
        user = self.api.result("GET", "/user")
        self.assertTrue(user["id"] and user["email"])
        account = next(item for item in self.api.result("GET", "/accounts") if item["name"] == "local")
        self.assertEqual(account["type"], "standard")
        membership = next(
            item for item in self.api.result("GET", "/memberships") if item["account"]["id"] == account["id"])
        self.assertEqual((membership["account"]["id"], membership["account"]["name"]), (account["id"], "local"))
        self.assertEqual(self.api.result("GET", "/memberships?page=2"), [])
        # By its name or by its id, and verified either way.
        for who in ("local", account["id"]):
            self.assertEqual(self.api.result("GET", f"/accounts/{who}/tokens/verify")["status"], "active")

    def test_probe_4_an_account_of_others_is_not_told_from_none(self):
        made = self.api.ask("POST", "/accounts", {"name": "acme"})
        self.assertEqual(made.status, 200, made.text)
        token = self.api.result("POST", "/user/tokens", {"name": "t", "policies": [
            {"effect": "allow", "resources": {"com.cloudflare.api.account.local": "*"},
             "permission_groups": [{"id": "workers:edit"}]}]})["value"]
        self.assertEqual(self.api.ask("GET", "workers/scripts", token=token).status, 200)
        answers = []
        for other in ("acme", made.json()["result"]["id"], "nobody", "0" * 32):
            answer = self.api.ask("GET", f"/accounts/{other}/workers/scripts", token=token)
            self.assertEqual((answer.status, answer.json()["errors"][0]["code"]), (403, 10000), other)
            answers.append(answer.json())
        self.assertEqual(answers, answers[:1] * 4)
        # Nor what the token isn't for.
        self.assertEqual(self.api.failure("GET", "storage/kv/namespaces", token=token), (403, 10000))

    def test_probe_28_what_its_commands_ask(self):
        """In the forms that wrangler sends: stores by id, keys with slashes as they are, a listing before each call."""
        made = self.api.result("POST", "storage/kv/namespaces", {"title": "wrangler"})
        [found] = [item for item in self.api.result("GET", "storage/kv/namespaces?per_page=100&order=title&direction=asc&page=1")
                   if item["title"] == "wrangler"]
        values = f"storage/kv/namespaces/{found['id']}/values/a%2Fkey"
        self.assertEqual((found["id"], self.api.ask("PUT", values, "text", Content_Type="text/plain").status), (made["id"], 200))
        self.assertEqual(self.api.ask("GET", values).text, "text")
        self.assertEqual(self.api.result("GET", f"storage/kv/namespaces/{found['id']}/keys?limit=1000"), [{"name": "a/key"}])

        self.api.result("POST", "d1/database", {"name": "wrangler"})
        [found] = self.api.result("GET", "d1/database?per_page=10&page=1&name=wrangler")
        path = f"d1/database/{found['uuid']}/query"
        self.api.result("POST", path, {"sql": "CREATE TABLE t(x); INSERT INTO t VALUES (1)"})
        [answer] = self.api.result("POST", path, {"sql": "SELECT x FROM t"})
        self.assertEqual((answer["results"], answer["success"]), ([{"x": 1}], True))

        self.api.result("POST", "queues", {"queue_name": "wrangler"})
        self.assertIn("wrangler", [queue["queue_name"] for queue in self.api.result("GET", "queues?page=1")])

        self.api.result("POST", "r2/buckets", {"name": "wrangler"})
        stored = self.api.ask("PUT", "r2/buckets/wrangler/objects/dir/an object.txt".replace(" ", "%20"), b"bytes",
                              Content_Type="text/plain", Cache_Control="max-age=5")
        self.assertEqual(stored.status, 200, stored.text)
        found = self.api.ask("GET", "r2/buckets/wrangler/objects/dir/an%20object.txt")
        self.assertEqual((found.body, found.header("content-type")), (b"bytes", "text/plain"))

        [deployment] = self.api.result("GET", "workers/scripts/one/deployments")["deployments"]
        for version in deployment["versions"]:
            shown = self.api.result("GET", f"workers/scripts/one/versions/{version['version_id']}")
            self.assertEqual((shown["id"], shown["number"]), (version["version_id"], 1))
        tail = self.api.result("POST", "workers/scripts/one/tails", {"filters": [{"sampling_rate": 1}]})
        with RawWebSocket(tail["url"]) as socket:
            socket.send(TEXT, b'{"debug":false}')
        self.assertEqual(self.api.ask("DELETE", f"workers/scripts/one/tails/{tail['id']}").status, 200)

    def test_workers_are_searched(self):
        found = self.api.result("GET", "workers/scripts-search?name=tw")
        self.assertEqual([item["script_name"] for item in found], ["two"])
        self.assertEqual(self.api.result("GET", "workers/scripts-search?name=none"), [])
        self.assertEqual(len(self.api.result("GET", "workers/scripts-search?per_page=1&page=2")), 1)

    def test_the_code_comes_back(self):
        answer = self.api.ask("GET", "workers/scripts/one/content/v2")
        self.assertEqual(answer.status, 200)
        self.assertTrue(code() in answer.body)
        self.assertEqual(self.api.failure("GET", "workers/scripts/none/content/v2"), (404, 10007))

    def test_secrets_in_bulk_are_one_version(self):
        def versions():
            return len(self.api.result("GET", "workers/scripts/one/versions")["items"])

        before = versions()
        set_ = self.api.result("PATCH", "workers/scripts/one/secrets-bulk", {"secrets": {
            "A": {"name": "A", "text": "hidden-a", "type": "secret_text"},
            "B/C": {"name": "B/C", "text": "hidden-b", "type": "secret_text"}}})
        self.assertNotIn("hidden", json.dumps(set_))
        self.assertEqual(versions(), before + 1)
        self.assertEqual({item["name"] for item in self.api.result("GET", "workers/scripts/one/secrets")}, {"A", "B/C"})
        self.assertEqual(self.api.result("GET", "workers/scripts/one/secrets/B%252FC?url_encoded=true")["name"], "B/C")
        self.api.result("PATCH", "workers/scripts/one/secrets-bulk", {"secrets": {"A": None}})
        self.assertEqual([item["name"] for item in self.api.result("GET", "workers/scripts/one/secrets")], ["B/C"])
        self.assertEqual(self.api.ask("DELETE", "workers/scripts/one/secrets/B%2FC").status, 200)
        self.assertEqual(self.api.failure("GET", "workers/scripts/one/secrets/B%2FC"), (404, 10056))

    def test_settings_of_the_account(self):
        self.assertEqual(self.api.result("GET", "workers/account-settings")["default_usage_model"], "standard")
        changed = self.api.result("PUT", "workers/account-settings", {"default_usage_model": "standard"})
        self.assertEqual(changed["default_usage_model"], "standard")

    def test_settings_without_a_new_version(self):
        def versions():
            return [item["id"] for item in self.api.result("GET", "workers/scripts/two/versions")["items"]]

        before = versions()
        changed = self.api.result("PATCH", "workers/scripts/two/script-settings", {"logpush": True, "tags": ["a"]})
        self.assertEqual((changed["logpush"], changed["tags"]), (True, ["a"]))
        self.assertEqual(versions(), before)
        self.assertEqual([item["id"] for item in self.api.result("GET", "workers/scripts?tags=a:yes")], ["two"])
        without = [item["id"] for item in self.api.result("GET", "workers/scripts?tags=a:no")]
        self.assertIn("one", without)
        self.assertNotIn("two", without)

    def test_each_answer_names_its_request(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=60)
        connection.request("GET", "/client/v4/user", headers={"Authorization": "Bearer " + self.api.token})
        answer = connection.getresponse()
        self.assertTrue(answer.headers["cf-ray"])
        self.assertEqual(answer.headers["content-type"].split(";")[0], "application/json")
        self.assertEqual(set(json.loads(answer.read())) & {"success", "errors", "messages", "result"},
                         {"success", "errors", "messages", "result"})
        connection.close()


if __name__ == "__main__":
    unittest.main()
