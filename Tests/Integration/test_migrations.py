"""Migrations of deployments (spec deploys, part D): the linter, and `edge deploy` with databases that change."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import threading
import unittest

from harness import ROOT, Node, edge, product, wait_until
from projects import Project
from rest import Rest
from test_deploy_cli import DEPLOY, HEAD, HOST, Platform, environment

SHAPE = HEAD + """
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*"]
vars = { X = "one" }
d1 = [{ binding = "DB", resource = "db", migrations = "migrations" }]
"""
FIRST = "CREATE TABLE pairs (id INTEGER, side TEXT);\n"
# Some seconds of work.
LONG = ("CREATE TABLE many AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000000) "
        "SELECT i FROM n;\n")


class Linting(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def write(self, **files):
        for name, text in files.items():
            with open(os.path.join(self.folder, name + ".sql"), "w") as file:
                file.write(text)

    def lint(self, code, *words):
        done = edge("d1", "migrations", "lint", *words, cwd=self.folder)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def test_findings_have_places_and_advice_and_decide_the_exit_code(self):
        self.write(**{
            "0001_users": "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT);\n",
            "0002_less": "-- Why not.\nALTER TABLE users\n  DROP COLUMN name;\nPRAGMA foreign_keys = OFF;\n",
            "0003_gone": "-- edge: contract\nDROP TABLE users;\n",
        })
        shown = self.lint(1, ".")
        self.assertEqual([line.split(": ")[0] for line in shown.splitlines()], ["./0002_less.sql:2:1", "./0002_less.sql:4:1"])
        self.assertIn("error: ALTER TABLE users DROP COLUMN name: the code in service still uses column users.name; "
                      'drop it in a file with "-- edge: contract" once nothing uses it [drop-column]', shown)
        self.assertIn("use PRAGMA defer_foreign_keys = ON", shown)
        found = json.loads(self.lint(1, ".", "--json"))
        self.assertEqual([(item["rule"], item["line"], item["column"], item["severity"]) for item in found],
                         [("drop-column", 2, 1, "error"), ("foreign-keys", 4, 1, "error")])

    def test_warnings_alone_are_no_failure(self):
        self.write(**{"0001_a": "CREATE TABLE t(a);", "0002_b": "DELETE FROM t;", "0002_b.down": "DROP TABLE t;"})
        self.assertIn("0002_b.sql:1:1: warning: DELETE FROM t", self.lint(0, "."))
        self.write(**{"0004_c": "", "0004_d": ""})
        shown = self.lint(1, ".")
        self.assertIn("number 3 is missing before 0004_c.sql", shown)
        self.assertIn("0004_c.sql and 0004_d.sql have the same number", shown)

    def test_a_folder_that_is_not_there(self):
        done = edge("d1", "migrations", "lint", "nowhere", cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no folder nowhere", done.stderr)

    def test_without_a_folder_those_of_the_configuration(self):
        with Project(SHAPE, {"dev": "format = 1\n"}, products=[]) as project:
            project.write("migrations/0001_first.sql", FIRST)
            project.write("migrations/0002_less.sql", "DROP TABLE pairs;\n")
            done = edge("d1", "migrations", "lint", cwd=project.directory)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("migrations/0002_less.sql:1:1: error: DROP TABLE pairs", done.stdout)

    def test_the_platforms_own_migrations_pass(self):
        done = edge("d1", "migrations", "lint", cwd=ROOT)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertRegex(done.stderr, r"^[1-9]\d* files: 0 errors, 0 warnings")


class Migrated(unittest.TestCase):
    """A node of staging with one database."""

    deploy_settings = DEPLOY

    def setUp(self):
        project = Project(SHAPE, {"staging": self.environment()}, products=["StoreWorker"])
        self.addCleanup(project.__exit__)
        project.write("migrations/0001_first.sql", FIRST)
        self.project = project
        self.platform = self.enterContext(Platform(project=project))

    def environment(self, warm="1m"):
        return environment(deploy=self.deploy_settings).replace('keep_warm = "1m"', f'keep_warm = "{warm}"')

    def migration(self, name, text):
        self.project.write(f"migrations/{name}.sql", text)

    def deploy(self, *words, code=0):
        return self.platform.deploy(*words, code=code)

    def scalar(self, sql):
        from urllib.parse import quote
        answer = self.platform.running.get(f"/d1/scalar?sql={quote(sql)}", host=HOST)
        self.assertEqual(answer.status, 200, answer.text)
        return answer.text

    def put(self, number):
        return self.platform.running.request("PUT", f"/d1/pair/{number}", body=b"", host=HOST)

    def pairs(self):
        return [pair["id"] for pair in self.platform.running.get("/d1/pairs", host=HOST).json()]

    def schema(self):
        return self.scalar("SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)")

    def events(self):
        number = self.platform.status()["deployment"]["number"]
        return self.platform.edge("deploy", "attach", str(number))

    @contextlib.contextmanager
    def reading(self):
        """Asks all the time; whatever goes wrong is in the list."""
        wrong, ends, count = [], threading.Event(), [0]

        def run():
            while not ends.is_set():
                try:
                    answer = self.platform.running.get("/d1/pairs", host=HOST)
                    if answer.status != 200:
                        wrong.append((answer.status, answer.text))
                except Exception as error:
                    wrong.append(repr(error))
                count[0] += 1

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield wrong
        finally:
            ends.set()
            thread.join()
        self.assertGreater(count[0], 0)


class Probes(Migrated):
    seconds = 120

    def test_probe_13_a_file_that_fails_leaves_no_trace(self):
        before = self.schema()
        self.migration("0002_good", "ALTER TABLE pairs ADD COLUMN note TEXT;\n")
        self.migration("0003_bad", "CREATE TABLE more(a);\n  INSERT INTO nowhere VALUES (1);\n")
        self.migration("0004_never", "CREATE TABLE never(a);\n")
        with self.reading() as wrong:
            shown = self.deploy(code=1)
        self.assertEqual(wrong, [])
        self.assertIn("0003_bad.sql:2:3: no such table: nowhere", shown)
        self.assertEqual(self.platform.status()["deployment"]["state"], "rolled-back")
        self.assertEqual(self.schema(), before)
        self.migration("0003_bad", "CREATE TABLE more(a);\n")
        shown = self.deploy()
        self.assertIn("migrated db: 0004_never.sql", shown)
        self.assertEqual(self.scalar("SELECT count(*) AS n FROM d1_migrations"), self.scalar("SELECT 4 AS n"))

    def test_probe_14_a_breaking_migration_is_refused_and_a_contract_waits(self):
        self.migration("0002_less", "-- No more sides.\nALTER TABLE pairs DROP COLUMN side;\n")
        shown = self.deploy(code=2)
        self.assertIn("0002_less.sql:2:1: error: ALTER TABLE pairs DROP COLUMN side", shown)
        self.migration("0002_less", "-- edge: contract\nALTER TABLE pairs DROP COLUMN side;\n")
        self.platform.set("two")
        self.project.write("environments/staging.toml", self.environment(warm="1s"))
        self.deploy()
        self.assertEqual(self.put(1).status, 200)
        before = self.schema()
        self.platform.set("three")
        self.deploy("--contract")
        wait_until(lambda: self.schema() != before, 60, "the contract")
        self.assertNotIn("side", self.schema())
        self.assertEqual(self.put(2).status, 500)

    def test_probe_14_allowed_it_holds_writes_until_the_switch(self):
        self.migration("0002_less", "ALTER TABLE pairs DROP COLUMN side;\nALTER TABLE pairs ADD COLUMN side TEXT;\n")
        self.migration("0003_long", LONG)
        shown = self.deploy("--allow-breaking", "--steps", "50,100", code=2)
        self.assertIn("--steps 100", shown)
        running = self.platform.popen("deploy", "--environment", "staging", "--products",
                                      self.project.path(".build/debug"), "--allow-breaking")
        held = []
        number = 0
        while running.poll() is None:
            number += 1
            answer = self.put(number)
            if answer.status == 503:
                held.append(answer.headers.get("Retry-After"))
            elif held:
                # Written again only by what is new.
                self.assertEqual(answer.status, 200, answer.text)
        out, error = running.communicate()
        self.assertEqual(running.returncode, 0, out + error)
        self.assertTrue(held and all(int(value) >= 1 for value in held), held)
        self.assertEqual(self.put(0).status, 200)

    def test_probe_15_writes_after_a_migration_are_kept(self):
        self.assertEqual(self.put(1).status, 200)
        self.migration("0002_more", LONG)
        crasher = self.project.path("crasher")
        shutil.copy("/bin/false", crasher)
        self.project.install("StoreWorker", crasher)
        self.deploy(code=1)
        self.assertEqual(self.put(2).status, 200)
        self.project.install("StoreWorker", product("StoreWorker"))
        # What was expanded stays, and nothing is lost.
        self.assertEqual(self.pairs(), [1, 2])
        self.assertIn("many", self.schema())
        self.migration("0003_more", "CREATE TABLE more(a);\n")
        self.platform.set("two")
        self.deploy()
        for number in range(3, 6):
            self.assertEqual(self.put(number).status, 200)
        shown = self.platform.edge("rollback", "--restore-data", "--dry-run")
        self.assertRegex(shown, r"db\b.*\b3\b|\b3\b.*db\b")
        refused = edge("rollback", "--restore-data", "--state", self.platform.state, cwd=self.project.directory)
        self.assertNotEqual(refused.returncode, 0)
        self.assertEqual(self.pairs(), [1, 2, 3, 4, 5])
        self.platform.edge("rollback", "--restore-data", "--yes")
        self.assertEqual(self.pairs(), [1, 2])
        self.assertNotIn("more", self.schema())
        # Without it, data stays as it is.
        self.platform.set("three")
        self.deploy()
        self.assertEqual(self.put(9).status, 200)
        self.platform.edge("rollback")
        self.assertEqual(self.pairs(), [1, 2, 9])

    def test_probe_16_an_applied_file_that_was_edited_is_refused(self):
        self.migration("0001_first", FIRST + "-- edited\n")
        shown = self.deploy(code=2)
        self.assertIn("0001_first.sql has been applied, and its text is another one now (checksum ", shown)
        self.assertEqual(len(set(re.findall(r"\b[0-9a-f]{64}\b", shown))), 2)

    def test_probe_11_killed_while_it_migrates_it_is_whole_or_not_there(self):
        before = self.schema()
        self.migration("0002_a", LONG)
        self.migration("0003_b", "INSERT INTO pairs VALUES (77, 'left'), (77, 'right');\n")
        for _ in range(2):
            running = self.platform.popen("deploy", "--environment", "staging", "--products", self.project.path(".build/debug"))
            wait_until(lambda: running.poll() is not None or self.is_migrating(), 60, "the migration")
            self.platform.restart(kill=True)
            running.communicate()
            if self.schema() != before:
                break
            self.assertEqual(self.pairs(), [])
        else:
            self.deploy()
        self.assertEqual(self.pairs(), [77])
        self.assertIn("many", self.schema())
        self.platform.set("two")
        self.deploy()
        self.assertEqual(self.pairs(), [77])

    def is_migrating(self):
        with contextlib.suppress(AssertionError, KeyError, TypeError):
            return self.platform.status()["deployment"]["state"] == "migrated"


class DryRuns(unittest.TestCase):
    def test_files_are_applied_to_a_copy_alone(self):
        node = self.enterContext(Node("run", product("HelloWorker")))
        folder = self.enterContext(tempfile.TemporaryDirectory())

        def d1(*words, code=0):
            done = edge("d1", *words, "--state", node.state, cwd=folder)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return done.stdout + done.stderr

        d1("create", "db")
        d1("execute", "db", "--command", "CREATE TABLE t(a)")
        os.makedirs(os.path.join(folder, "migrations"))
        for name, text in [("0001_a", "ALTER TABLE t ADD b;"), ("0002_b", "CREATE TABLE t(a);")]:
            with open(os.path.join(folder, f"migrations/{name}.sql"), "w") as file:
                file.write(text)
        shown = d1("migrations", "apply", "db", "--dry-run", code=1)
        self.assertIn("0002_b.sql: table t already exists", shown)
        os.remove(os.path.join(folder, "migrations/0002_b.sql"))
        self.assertIn("nothing was changed", d1("migrations", "apply", "db", "--dry-run"))
        schema = d1("execute", "db", "--command", "SELECT name, sql FROM sqlite_schema")
        self.assertNotIn("ADD", schema)
        self.assertNotIn("d1_migrations", schema)
        self.assertNotIn(" b", schema)
        self.assertEqual([item["name"] for item in json.loads(d1("list", "--json"))], ["db"])
        self.assertIn("0001_a.sql", d1("migrations", "list", "db"))


class Frozen(Migrated):
    seconds = 60
    deploy_settings = DEPLOY + "freeze = true\n"

    def test_writes_are_refused_and_reads_go_on(self):
        self.migration("0002_long", LONG)
        running = self.platform.popen("deploy", "--environment", "staging", "--products", self.project.path(".build/debug"))
        rest = Rest(self.platform.running, "t")
        seen = []
        with self.reading() as wrong:
            while running.poll() is None:
                answer = self.put(1)
                if answer.status == 503:
                    seen.append(("worker", answer.headers.get("Retry-After")))
                    answer = rest.ask("POST", "d1/database/db/query", {"sql": "DELETE FROM pairs"})
                    if answer.status == 503:
                        seen.append(("api", answer.headers.get("Retry-After")))
        out, error = running.communicate()
        self.assertEqual(running.returncode, 0, out + error)
        self.assertEqual(wrong, [])
        self.assertEqual({who for who, _ in seen}, {"worker", "api"})
        self.assertTrue(all(int(value) >= 1 for _, value in seen), seen)
        self.assertEqual(self.put(2).status, 200)


if __name__ == "__main__":
    unittest.main()
