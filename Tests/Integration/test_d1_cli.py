"""`edge d1` against a real node (spec d1, sections 9 and 10)."""

import json
import os
import re
import sqlite3
import tempfile
import unittest
import uuid

from harness import Node, edge, product
from projects import Project
from test_d1_api import Client


class D1Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        cls.client = Client(cls.node)

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def run_d1(self, *words, input=None, cwd=None):
        return edge("d1", *words, "--state", self.node.state, input=input, cwd=cwd or self.folder, timeout=60)

    def d1(self, *words, input=None):
        """What a command prints that succeeds."""
        done = self.run_d1(*words, input=input)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def fails(self, code, text, *words):
        done = self.run_d1(*words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)
        return done

    def create(self, *words):
        """Writes a migration, for which no node is asked."""
        return edge("d1", "migrations", "create", *words, cwd=self.folder).stdout

    def make(self):
        name = f"db-{uuid.uuid4().hex[:8]}"
        self.d1("create", name)
        return name

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def tables(self, database):
        rows = self.client.rows(database, "SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {row["name"] for row in rows if not row["name"].startswith(("d1_", "sqlite_"))}

    def test_databases_are_made_shown_and_deleted(self):
        made = self.d1("create", "shown", "--location", "weur", "--jurisdiction", "eu").strip()
        self.assertEqual(str(uuid.UUID(made)), made)
        self.fails(1, "already exists", "create", "shown")
        self.fails(1, "blanks", "create", "a b")
        line = next(line for line in self.d1("list").splitlines() if " shown " in line)
        self.assertTrue(line.startswith(made), line)
        self.assertIn(made, [item["uuid"] for item in json.loads(self.d1("list", "--json"))])
        info = self.d1("info", "shown")
        self.assertRegex(info, rf"(?m)^uuid +{made}$")
        self.assertRegex(info, r"(?m)^jurisdiction +eu$")
        self.assertEqual(json.loads(self.d1("info", made, "--json"))["name"], "shown")
        self.fails(64, "--yes", "delete", "shown")
        self.assertEqual(self.client.ask("GET", "/shown")[0], 200)
        self.assertEqual(self.d1("delete", "shown", "--yes"), "deleted shown\n")
        self.fails(1, "could not be found (7404)", "info", "shown")
        self.fails(1, "could not be found (7404)", "delete", "shown")

    def test_sql_is_run(self):
        name = self.make()
        self.d1("execute", name, "--command", "CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        done = self.run_d1("execute", name, "--command", "INSERT INTO t(a) VALUES ('x'), (NULL), (x'01ff'), (1.5)")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("4 changes", done.stderr)
        shown = self.d1("execute", name, "--command", "SELECT id, a FROM t; SELECT 2 AS n, 3 AS n")
        self.assertEqual(shown.splitlines(), ["id  a", "1   x", "2   NULL", "3   [1,255]", "4   1.5", "n  n", "2  3"])
        result = json.loads(self.d1("execute", name, "--command", "SELECT count(*) n FROM t", "--json"))
        self.assertEqual(result[0]["results"], [{"n": 4}])
        self.fails(1, "syntax error at offset 0: SQLITE_ERROR (7500)", "execute", name, "--command", "SELEC")
        self.fails(1, "could not be found (7404)", "execute", "nope", "--command", "SELECT 1")
        self.fails(64, "--command SQL or --file FILE", "execute", name)
        self.fails(64, "--file", "execute", name, "--command", "SELECT 1", "--file", "x")
        self.fails(1, "nowhere.sql", "execute", name, "--file", "nowhere.sql")

    def test_probe_26_dumps_go_out_and_come_back(self):
        name, copy = self.make(), self.make()
        path = self.write("fill.sql", "CREATE TABLE t(a, b TEXT);\nINSERT INTO t VALUES (x'00ff', 'it''s\n\"ö\"'), (NULL, '');\n")
        self.assertIn("2 statements", self.d1("execute", name, "--file", path))
        dump = os.path.join(self.folder, "dump.sql")
        self.assertEqual(self.d1("export", name, "--output", dump), f"exported to {dump}\n")
        with open(dump) as file:
            text = file.read()
        self.assertTrue(text.startswith("PRAGMA defer_foreign_keys=TRUE;"))
        self.assertEqual(self.d1("export", name, "--output", "-"), text)
        self.d1("import", copy, dump)
        both = "SELECT a, b FROM t"
        self.assertEqual(self.client.rows(copy, both), self.client.rows(name, both))
        only = self.d1("export", name, "--output", "-", "--no-data", "--table", "t")
        with sqlite3.connect(":memory:") as connection:
            connection.executescript(only)
            self.assertEqual(connection.execute("SELECT count(*) FROM t").fetchall(), [(0,)])
        self.fails(1, "no such table: nope", "export", name, "--output", "x.sql", "--table", "nope")
        self.assertFalse(any(found.startswith("x.sql") for found in os.listdir(self.folder)))
        self.fails(64, "--output FILE", "export", name)

    def test_an_import_is_all_or_nothing_also_from_standard_input(self):
        name = self.make()
        self.d1("import", name, "-", input="CREATE TABLE t(a); INSERT INTO t VALUES (1);")
        status = json.loads(self.run_d1("execute", name, "--file", "-", "--json", input="INSERT INTO t VALUES (2);").stdout)
        self.assertEqual((status["status"], status["result"]["num_queries"]), ("complete", 1))
        done = self.run_d1("import", name, "-", input="INSERT INTO t VALUES (3); SELEC;")
        self.assertEqual(done.returncode, 1)
        self.assertIn("statement 2: near \"SELEC\": syntax error", done.stderr)
        self.assertEqual(self.client.rows(name, "SELECT a FROM t"), [{"a": 1}, {"a": 2}])

    def test_probe_24_there_and_back(self):
        name = self.make()
        self.d1("execute", name, "--command", "CREATE TABLE t(a); INSERT INTO t VALUES (1)")
        bookmark = self.d1("time-travel", "info", name).strip()
        self.assertRegex(bookmark, "^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}$")
        self.d1("execute", name, "--command", "DELETE FROM t")
        self.fails(64, "--yes", "time-travel", "restore", name, "--bookmark", bookmark)
        shown = self.d1("time-travel", "restore", name, "--bookmark", bookmark, "--yes")
        self.assertEqual(self.client.rows(name, "SELECT a FROM t"), [{"a": 1}])
        undo = re.search(r"--bookmark (\S+)", shown).group(1)
        restored = json.loads(self.d1("time-travel", "restore", name, "--bookmark", undo, "--yes", "--json"))
        self.assertEqual(set(restored), {"bookmark", "previous_bookmark", "message"})
        self.assertEqual(self.client.rows(name, "SELECT a FROM t"), [])
        self.fails(64, "--bookmark BOOKMARK or --timestamp TIME", "time-travel", "restore", name)
        self.fails(1, "(7400)", "time-travel", "info", name, "--timestamp", "yesterday")
        self.fails(1, "(7400)", "time-travel", "info", name, "--timestamp", "915148800")

    def test_probe_27_migrations_stop_at_the_first_that_fails(self):
        name = self.make()
        folder = os.path.join(self.folder, "migrations")
        created = self.create(name, "first one")
        self.assertEqual(created, "./migrations/0001_first_one.sql\n")
        path = os.path.join(folder, "0001_first_one.sql")
        with open(path) as file:
            self.assertRegex(file.read(), r"^-- Migration number: 0001 \t \d{4}-\d\d-\d\dT")
        self.write("migrations/0001_first_one.sql", "CREATE TABLE a(x);")
        self.write("migrations/0002_bad.sql", "CREATE TABLE b(x);\nSELEC;")
        self.write("migrations/0003_more.sql", "CREATE TABLE c(x);")
        self.assertIn("0004_next.sql", self.create(name, "next"))
        os.unlink(os.path.join(folder, "0004_next.sql"))
        self.assertEqual(
            self.d1("migrations", "list", name).split(), ["PENDING", "0001_first_one.sql", "0002_bad.sql", "0003_more.sql"])
        done = self.run_d1("migrations", "apply", name)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"0001_first_one.sql +✅\n0002_bad.sql +❌\n0003_more.sql +🕒")
        self.assertIn("0002_bad.sql: near \"SELEC\": syntax error", done.stderr)
        self.assertEqual(self.tables(name), {"a"})
        self.assertEqual(self.client.rows(name, "SELECT name FROM d1_migrations"), [{"name": "0001_first_one.sql"}])
        self.write("migrations/0002_bad.sql", "CREATE TABLE b(x);")
        pending = json.loads(self.d1("migrations", "list", name, "--json"))
        self.assertEqual(pending, [{"name": "0002_bad.sql"}, {"name": "0003_more.sql"}])
        self.d1("migrations", "apply", name)
        self.assertEqual(self.tables(name), {"a", "b", "c"})
        self.assertEqual(self.d1("migrations", "apply", name), "✅ No migrations to apply!\n")
        self.assertEqual(self.d1("migrations", "list", name), "✅ No migrations to apply!\n")

    def test_migrations_may_be_all_or_none(self):
        name = self.make()
        self.write("other/0001_a.sql", "CREATE TABLE a(x);")
        self.write("other/0002_b.sql", "SELEC;")
        words = ("--dir", "other", "--table", "mine")
        self.fails(1, "0002_b.sql", "migrations", "apply", name, "--atomic", *words)
        self.assertEqual(self.tables(name), {"mine", "mine_digests"})
        self.write("other/0002_b.sql", "CREATE TABLE b(x);")
        report = json.loads(self.d1("migrations", "apply", name, "--atomic", "--json", *words))
        self.assertTrue(report["succeeded"])
        self.assertEqual(self.client.rows(name, "SELECT name FROM mine"), [{"name": "0001_a.sql"}, {"name": "0002_b.sql"}])
        self.fails(1, "there is no folder", "migrations", "list", name)

    def test_the_configuration_says_where_migrations_are(self):
        shape = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
d1 = [{ binding = "DB", resource = "app", migrations = "sql/app" }]
"""
        with Project(shape, {"dev": "format = 1\n"}) as project:
            os.makedirs(project.path("sql/app"))
            with open(project.path("sql/app/0001_a.sql"), "w") as file:
                file.write("CREATE TABLE a(x);")
            with Node("dev", "--no-build", "--no-watch", cwd=project.directory, state=project.path("state/dev")):
                # Applied when it was deployed.
                done = edge("d1", "migrations", "list", "DB", cwd=project.directory)
                self.assertEqual(done.stdout, "✅ No migrations to apply!\n", done.stderr)
                with open(project.path("sql/app/0002_b.sql"), "w") as file:
                    file.write("CREATE TABLE b(x);")
                done = edge("d1", "migrations", "apply", "DB", cwd=project.directory)
                self.assertRegex(done.stdout, r"0002_b.sql +✅", done.stderr)
                done = edge("d1", "execute", "app", "--command", "SELECT count(*) n FROM d1_migrations", cwd=project.directory)
                self.assertEqual(done.stdout, "n\n2\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
