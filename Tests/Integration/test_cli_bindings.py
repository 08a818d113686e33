"""Stores that commands name as wrangler's users do: by the binding of a configuration, in a jurisdiction."""

import json
import unittest

from harness import Node, edge, product
from projects import Project

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*"]
kv = [{ binding = "KV", resource = "texts" }, { binding = "OTHER", resource = "one" }]
d1 = [{ binding = "DB", resource = "app" }]
[workers.hello]
product = "HelloWorker"
kv = [{ binding = "OTHER", resource = "two" }]
"""
WRANGLER = """name = "w"
main = "w"
compatibility_date = "2026-08-01"
kv_namespaces = [{ binding = "KV", id = "texts", preview_id = "PREVIEW" }]
[env.test]
kv_namespaces = [{ binding = "KV", id = "one" }]
"""
WRANGLER_D1 = """name = "w"
main = "w"
compatibility_date = "2026-08-01"
[[d1_databases]]
binding = "DB"
database_name = "plain"
database_id = "x"
preview_database_id = "PREVIEW"
[[d1_databases]]
binding = "OTHER"
database_name = "other"
database_id = "y"
"""


class Bindings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.project = cls.enterClassContext(Project(SHAPE, {"staging": "format = 1\ndomain = \"s.example\"\nlisten = [\"127.0.0.1:0\"]\n"}))
        cls.node = cls.enterClassContext(cls.project.dev(state=cls.project.path("state/dev")))

    def edge(self, *words, cwd=None):
        return edge(*words, cwd=cwd or self.project.directory)

    def done(self, *words, **keywords):
        result = self.edge(*words, **keywords)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def refused(self, code, text, *words):
        result = self.edge(*words)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertIn(text, result.stderr)

    def test_a_namespace_by_its_binding(self):
        self.done("kv", "key", "put", "k", "bound", "--binding", "KV")
        self.assertEqual(self.done("kv", "key", "get", "k", "--namespace", "texts"), "bound")
        self.assertEqual(self.done("kv", "key", "get", "k", "--binding=KV", "--environment", "dev", "--local"), "bound")
        self.assertEqual([key["name"] for key in json.loads(self.done("kv", "key", "list", "--binding", "KV", "--json"))], ["k"])
        self.refused(1, 'no KV binding "KVV"; did you mean "KV"?', "kv", "key", "get", "k", "--binding", "KVV")
        self.refused(1, 'no KV binding "DB"', "kv", "key", "get", "k", "--binding", "DB")
        self.refused(64, "--binding beside a namespace", "kv", "key", "get", "k", "--binding", "KV", "--namespace", "texts")
        self.refused(64, "--namespace NAME or --binding NAME", "kv", "key", "get", "k")
        self.refused(64, "--local beside --remote", "kv", "key", "get", "k", "--binding", "KV", "--local", "--remote", self.node.control)
        # Another environment has a node, and a state, of its own.
        self.refused(1, "state/staging", "kv", "key", "get", "k", "--binding", "KV", "--environment", "staging")

    def test_a_binding_that_several_workers_have(self):
        self.refused(64, "--worker (several have a binding \"OTHER\": hello, store)", "kv", "key", "get", "k", "--binding", "OTHER")
        self.done("kv", "key", "put", "k", "two", "--binding", "OTHER", "--worker", "hello")
        self.assertEqual(self.done("kv", "key", "get", "k", "--namespace", "two"), "two")
        self.refused(1, 'the worker "hello" has no KV binding "KV"', "kv", "key", "get", "k", "--binding", "KV", "--worker", "hello")

    def test_a_renamed_namespace_is_found_as_the_configuration_finds_it(self):
        self.done("kv", "key", "put", "k", "one", "--binding", "OTHER", "--worker", "store")
        self.done("kv", "namespace", "rename", "one", "--new-name", "renamed")
        self.assertEqual(self.done("kv", "key", "get", "k", "--binding", "OTHER", "--worker", "store"), "one")
        self.assertEqual(self.done("kv", "key", "get", "k", "--namespace", "renamed"), "one")
        self.refused(1, 'no namespace "one"', "kv", "key", "get", "k", "--namespace", "one")
        self.done("kv", "namespace", "rename", "--binding", "OTHER", "--worker", "store", "--new-name", "one")

    def test_wranglers_file_its_environments_and_previews(self):
        preview = self.done("kv", "namespace", "create", "texts", "--preview").strip()
        self.project.write("wrangler.toml", WRANGLER.replace("PREVIEW", preview))
        file = ("--config", "wrangler.toml", "--tenant", "t")
        self.done("kv", "key", "put", "p", "plain", "--binding", "KV", *file)
        self.done("kv", "key", "put", "p", "previewed", "--binding", "KV", "--preview", *file)
        self.done("kv", "key", "put", "p", "tested", "--binding", "KV", "--env", "test", *file)
        for name, value in (("texts", "plain"), ("texts_preview", "previewed"), ("one", "tested")):
            self.assertEqual(self.done("kv", "key", "get", "p", "--namespace", name), value)
        self.refused(1, "no preview_id", "kv", "key", "get", "p", "--binding", "KV", "--preview", "-e", "test", *file)
        self.refused(64, "--binding NAME beside --preview", "kv", "key", "get", "p", "--namespace", "texts", "--preview")

    def test_the_preview_of_a_database(self):
        for name in ("plain", "looked-at"):
            self.done("d1", "create", name)
        preview = json.loads(self.done("d1", "info", "looked-at", "--json"))["uuid"]
        self.project.write("wrangler.toml", WRANGLER_D1.replace("PREVIEW", preview))
        self.project.write("migrations/0001_t.sql", "CREATE TABLE migrated(x);")
        file = ("--config", "wrangler.toml", "--tenant", "t")
        for name in ("DB", "plain"):
            self.done("d1", "execute", name, "--preview", "--command", f"CREATE TABLE by_{name}(x)", *file)
        self.project.write("some.sql", "CREATE TABLE by_file(x);")
        self.done("d1", "execute", "DB", "--preview", "--file", self.project.path("some.sql"), *file)
        self.assertIn("0001_t.sql", self.done("d1", "migrations", "list", "DB", "--preview", *file))
        self.done("d1", "migrations", "apply", "DB", "--preview", *file)
        self.assertIn("No migrations", self.done("d1", "migrations", "list", "plain", "--preview", *file))
        self.assertIn("0001_t.sql", self.done("d1", "migrations", "list", "DB", *file))

        def tables(name):
            found = json.loads(self.done("d1", "execute", name, "--json", "--command", "SELECT name FROM sqlite_schema ORDER BY name"))
            return [row["name"] for row in found[0]["results"] if row["name"].startswith(("by_", "migrated"))]

        self.assertEqual(tables("looked-at"), ["by_DB", "by_file", "by_plain", "migrated"])
        self.assertEqual(tables("plain"), [])
        self.refused(1, "no preview_database_id", "d1", "execute", "OTHER", "--preview", "--command", "SELECT 1", *file)
        self.refused(1, 'no D1 database "DBB"; did you mean "DB"?', "d1", "execute", "DBB", "--preview", "--command", "SELECT 1", *file)

    def test_a_database_by_its_binding(self):
        def name(*words):
            return json.loads(self.done("d1", "info", *words, "--json"))["name"]

        self.done("d1", "execute", "DB", "--command", "CREATE TABLE t(x); INSERT INTO t VALUES (7)", "--yes")
        self.assertIn("7", self.done("d1", "execute", "app", "--command", "SELECT x FROM t"))
        self.assertEqual(name("DB", "--environment", "dev"), "app")
        self.assertEqual(name("app", "--environment", "dev"), "app")
        self.refused(1, 'no D1 binding "DBB"; did you mean "DB"?', "d1", "info", "DBB", "--environment", "dev")
        # A database of that very name comes first.
        self.done("d1", "create", "DB")
        self.assertEqual(name("DB"), "DB")
        self.done("d1", "delete", "DB", "-y")
        self.assertEqual(name("DB"), "app")


class Jurisdictions(unittest.TestCase):
    def test_each_is_a_place_of_its_own(self):
        with Node("run", product("HelloWorker")) as node:
            def run(*words, input=None):
                return edge("r2", *words, "--state", node.state, input=input)

            self.assertEqual(run("bucket", "create", "abroad", "-J", "eu").returncode, 0)
            put = run("object", "put", "abroad/a", "--pipe", "--jurisdiction", "eu", input="x")
            self.assertEqual(put.returncode, 0, put.stderr)
            self.assertEqual(run("object", "get", "abroad/a", "--pipe", "-J", "eu").stdout, "x")
            self.assertIn("(10006)", run("object", "get", "abroad/a", "--pipe").stderr)
            self.assertIn("abroad", run("bucket", "list", "--jurisdiction", "eu").stdout)
            self.assertNotIn("abroad", run("bucket", "list").stdout)
            self.assertEqual(run("bucket", "lifecycle", "list", "abroad", "-J", "eu").returncode, 0)
            self.assertEqual(run("bucket", "lifecycle", "list", "abroad").returncode, 1)
            self.assertIn("(10029)", run("bucket", "list", "-J", "mars").stderr)
            self.assertEqual(run("object", "delete", "abroad/a", "-y", "-J", "eu").returncode, 0)
            self.assertEqual(run("bucket", "delete", "abroad", "-y", "-J", "eu").returncode, 0)


if __name__ == "__main__":
    unittest.main()
