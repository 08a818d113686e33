"""`edge kv` and `edge r2` against a real node, which they find by its state directory."""

import json
import os
import tempfile
import unittest

from harness import Node, edge, product
from test_cli_common import on_terminal


class Commands(unittest.TestCase):
    # Of the classes below.
    group = ""
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("StoreWorker"), *cls.arguments))
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory())

    def file(self, name, content):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run_edge(self, *words, **keywords):
        return edge(self.group, *words, "--state", self.node.state, **keywords)

    def done(self, *words, **keywords):
        result = self.run_edge(*words, **keywords)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def json(self, *words):
        return json.loads(self.done(*words, "--json"))

    def refused(self, code, text, *words, **keywords):
        result = self.run_edge(*words, **keywords)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertIn(text, result.stderr)


class KV(Commands):
    group = "kv"
    arguments = ("--kv", "KV=TEXTS")

    def test_namespaces(self):
        made = self.done("namespace", "create", "first").strip()
        self.assertRegex(made, "^[0-9a-f]{32}$")
        self.refused(1, "a namespace with this account ID and title already exists' (10014)", "namespace", "create", "first")
        self.done("namespace", "rename", "first", "--new-name", "second")
        table = self.done("namespace", "list").splitlines()
        self.assertEqual(table[0].split(), ["ID", "TITLE"])
        self.assertIn([made, "second"], [line.split() for line in table])
        self.assertIn("TEXTS", [namespace["title"] for namespace in self.json("namespace", "list")])
        self.refused(64, "--yes", "namespace", "delete", "second")
        self.refused(1, "did you mean \"second\"?", "namespace", "delete", "secnd", "--yes")
        self.refused(64, "NAMESPACE", "namespace", "delete", "--yes")
        self.done("namespace", "delete", "--namespace-id", made, "--force")
        self.assertNotIn(made, self.done("namespace", "list"))

    def test_keys(self):
        where = ("--namespace", "TEXTS")
        self.done("key", "put", "a/b c", "hello", "--metadata", '{"n": 1}', "--ttl", "300", *where)
        self.assertEqual(self.done("key", "get", "a/b c", *where), "hello")
        self.assertEqual(self.node.get("/kv/a%2Fb%20c").text, "hello")
        [key] = self.json("key", "list", "--prefix", "a/", *where)
        self.assertEqual((key["name"], key["metadata"]), ("a/b c", {"n": 1}))
        line = next(line for line in self.done("key", "list", *where).splitlines() if line.startswith("a/b c"))
        self.assertIn('{"n":1}', line)
        content = os.urandom(3 << 20)
        self.done("key", "put", "file", "--path", self.file("value", content), *where)
        target = os.path.join(self.directory, "copy")
        self.done("key", "get", "file", "--path", target, *where)
        with open(target, "rb") as file:
            self.assertTrue(file.read() == content)
        self.done("key", "put", "piped", "--path", "-", *where, input="from a pipe")
        self.assertEqual(self.done("key", "get", "piped", *where), "from a pipe")
        self.done("key", "put", "empty", "", *where)
        self.assertEqual(self.done("key", "get", "empty", *where), "")
        self.done("key", "delete", "piped", "--yes", *where)
        self.refused(1, "get: 'key not found' (10009)", "key", "get", "piped", *where)
        self.refused(1, "at least 60.' (10034)", "key", "put", "k", "v", "--ttl", "59", *where)
        self.refused(64, "either VALUE or --path FILE", "key", "put", "k", *where)
        self.refused(64, "--namespace NAME", "key", "get", "k")
        self.refused(1, "nobody", "key", "get", "k", "--namespace", "nobody")

    def test_bulk_in_portions(self):
        namespace = self.done("namespace", "create", "bulk").strip()
        where = ("--namespace-id", namespace)
        pairs = [{"key": f"key-{number:05}", "value": f"[,\"{number}\\]"} for number in range(12_000)]
        path = self.file("pairs", json.dumps(pairs, indent=1).encode())
        self.assertEqual(self.json("bulk", "put", path, *where), {"successful_key_count": 12_000, "unsuccessful_keys": []})
        names = [key["name"] for key in self.json("key", "list", *where)]
        self.assertEqual(names, [pair["key"] for pair in pairs])
        wanted = self.file("wanted", json.dumps([pair["key"] for pair in pairs[:250]] + [{"name": "nope"}]).encode())
        self.assertEqual(json.loads(self.done("bulk", "get", wanted, *where)),
                         {**{pair["key"]: pair["value"] for pair in pairs[:250]}, "nope": None})
        self.refused(64, "--yes", "bulk", "delete", wanted, *where)
        self.assertIn("deleted 251 keys", self.done("bulk", "delete", wanted, "--yes", *where))
        self.assertEqual(len(self.json("key", "list", *where)), 11_750)
        bad = self.file("bad", json.dumps([{"key": "good", "value": ""}, {"key": "..", "value": ""}]).encode())
        self.refused(1, "refused: ..", "bulk", "put", bad, *where)
        for text in ["{", "[1", "[] 2", '["a",]x']:
            self.assertEqual(self.run_edge("bulk", "put", self.file("broken", text.encode()), *where).returncode, 1)

    def test_bulk_get_of_more_than_one_answer_holds(self):
        where = ("--namespace", "TEXTS")
        for number in range(3):
            self.done("key", "put", f"big-{number}", "--path", self.file("big", b"%d" % number * (12 << 20)), *where)
        wanted = self.file("wanted-big", json.dumps([f"big-{number}" for number in range(3)]).encode())
        found = json.loads(self.done("bulk", "get", wanted, *where))
        self.assertEqual([len(found[f"big-{number}"]) for number in range(3)], [12 << 20] * 3)

    def test_what_is_shown_on_a_terminal(self):
        path = self.file("shown", os.urandom(2 << 20))
        code, shown = on_terminal(
            "kv", "key", "put", "shown", "--path", path, "--namespace", "TEXTS", "--state", self.node.state)
        self.assertEqual(code, 0, shown)
        self.assertIn("2 MiB / 2 MiB", shown)


class R2(Commands):
    group = "r2"
    arguments = ("--kv", "KV", "--r2", "R2=bound", "--consume", "changes")

    def test_buckets(self):
        self.done("bucket", "create", "one", "--location", "weur", "--storage-class", "InfrequentAccess")
        self.refused(1, "(10004)", "bucket", "create", "one")
        self.assertIn("InfrequentAccess", self.done("bucket", "list"))
        self.done("bucket", "update", "storage-class", "one", "--storage-class", "Standard")
        info = self.json("bucket", "info", "one")
        self.assertEqual((info["storage_class"], info["usage"]["objectCount"]), ("Standard", 0))
        self.assertIn("weur", self.done("bucket", "info", "one"))
        self.refused(64, "--yes", "bucket", "delete", "one")
        self.done("bucket", "delete", "one", "--yes")
        self.refused(1, "(10006)", "bucket", "info", "one")

    def test_objects(self):
        content = os.urandom(5 << 20)
        source, target = self.file("source", content), os.path.join(self.directory, "target")
        stored = self.json("object", "put", "bound/dir/ü %.bin", "--file", source, "--content-type", "a/b",
                           "--cache-control", "no-store")
        self.assertEqual(stored["size"], str(5 << 20))
        self.done("object", "get", "bound/dir/ü %.bin", "--file", target)
        with open(target, "rb") as file:
            self.assertTrue(file.read() == content)
        self.done("object", "put", "bound/piped", "--pipe", input="from a pipe")
        self.assertEqual(self.done("object", "get", "bound/piped", "--pipe"), "from a pipe")
        self.assertEqual(self.done("object", "get", "bound/piped", "--pipe", "--range", "5-5"), "a")
        listed = {item["key"]: item for item in self.json("object", "list", "bound")}
        self.assertEqual(listed["dir/ü %.bin"]["http_metadata"], {"contentType": "a/b", "cacheControl": "no-store"})
        self.assertIn("dir/", self.done("object", "list", "bound", "--delimiter", "/").splitlines())
        self.refused(64, "a bucket and a key", "object", "get", "bound")
        self.refused(64, "--file FILE or --pipe", "object", "put", "bound/x")
        self.done("object", "delete", "bound/piped", "--yes")
        self.refused(1, "(10007)", "object", "get", "bound/piped", "--pipe")
        self.refused(1, "(10007)", "object", "get", "bound/piped", "--file", os.path.join(self.directory, "never"))
        self.assertFalse(os.path.exists(os.path.join(self.directory, "never")))

    def test_rules(self):
        self.done("bucket", "lifecycle", "add", "bound", "old", "tmp/", "--expire-days", "30", "--ia-transition-days", "7")
        listed = self.done("bucket", "lifecycle", "list", "bound")
        self.assertIn("delete 30 days, InfrequentAccess 7 days", listed)
        self.assertIn("Default Multipart Abort Rule", listed)
        self.refused(1, "did you mean \"old\"?", "bucket", "lifecycle", "remove", "bound", "--name", "ol", "--yes")
        self.done("bucket", "lifecycle", "remove", "bound", "--name", "old", "--yes")
        self.assertNotIn("30 days", self.done("bucket", "lifecycle", "list", "bound"))
        self.refused(64, "--expire-days", "bucket", "lifecycle", "add", "bound", "nothing")
        self.refused(64, "one of them", "bucket", "lifecycle", "add", "bound", "two", "--expire-days", "1", "--expire-date",
                     "2030-01-31")
        rules = self.json("bucket", "lifecycle", "list", "bound")
        path = self.file("rules", json.dumps(rules).encode())
        self.assertIn("set 1 rule", self.done("bucket", "lifecycle", "set", "bound", "--file", path, "--yes"))
        self.done("bucket", "lock", "add", "bound", "keep", "kept/", "--retention-indefinite")
        self.assertIn("kept for ever", self.done("bucket", "lock", "list", "bound"))
        self.done("bucket", "lock", "remove", "bound", "--name", "keep", "--yes")
        self.assertEqual(self.json("bucket", "lock", "list", "bound"), {"rules": []})
        cors = self.file("cors", json.dumps([{"allowed": {"methods": ["GET"], "origins": ["https://a.test"]}}]).encode())
        self.assertEqual(self.json("bucket", "cors", "list", "bound"), {"rules": []})
        self.done("bucket", "cors", "set", "bound", "--file", cors, "--yes")
        self.assertIn("https://a.test", self.done("bucket", "cors", "list", "bound"))
        self.done("bucket", "cors", "delete", "bound", "--yes")
        self.assertEqual(self.json("bucket", "cors", "list", "bound"), {"rules": []})

    def test_notifications(self):
        self.done("bucket", "notification", "create", "bound", "--queue", "changes", "--event-types", "object-create",
                  "--prefix", "img/")
        self.assertIn("PutObject CopyObject CompleteMultipartUpload", self.done("bucket", "notification", "list", "bound"))
        [queue] = self.json("bucket", "notification", "list", "bound")["queues"]
        self.done("bucket", "notification", "delete", "bound", "--queue", queue["queueId"], "--rule",
                  queue["rules"][0]["ruleId"], "--yes")
        self.assertEqual(self.json("bucket", "notification", "list", "bound")["queues"], [])
        self.refused(64, "object-create or object-delete", "bucket", "notification", "create", "bound", "--queue", "changes",
                     "--event-types", "put")
        self.refused(1, "(11000)", "bucket", "notification", "create", "bound", "--queue", "nope", "--event-types",
                     "object-delete")


if __name__ == "__main__":
    unittest.main()
