"""The official `cloudflare` SDK against a real node: D1 (spec d1, sections 10 to 12; control-plane probe 22)."""

import hashlib
import os
import sqlite3
import unittest
import urllib.request
import uuid

import cloudflare

from harness import Node, product, wait_until


class D1(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            token = file.read().strip()
        cls.client = cloudflare.Cloudflare(api_token=token, base_url=cls.node.control + "/client/v4")
        cls.account = next(iter(cls.client.accounts.list())).id
        cls.d1 = cls.client.d1.database

    def make(self, name=None):
        made = self.d1.create(account_id=self.account, name=name or f"db-{uuid.uuid4().hex[:8]}")
        self.addCleanup(self.drop, made.uuid)
        return made

    def drop(self, database):
        try:
            self.d1.delete(database, account_id=self.account)
        except cloudflare.NotFoundError:
            pass

    def query(self, database, sql, params=None):
        """The rows of the first statement."""
        keywords = {} if params is None else {"params": params}
        return self.d1.query(database, account_id=self.account, sql=sql, **keywords).result[0].results

    def refused(self, kind, code, call, *arguments, **keywords):
        with self.assertRaises(kind) as caught:
            call(*arguments, account_id=self.account, **keywords)
        self.assertEqual(caught.exception.errors[0].code, code)
        return caught.exception.errors[0].message

    def wait(self, ask):
        """Asks until what runs is over."""
        answers = []
        wait_until(lambda: answers.append(ask()) or answers[-1].status != "active")
        return answers[-1]

    def test_probe_22_a_database_by_the_sdk_alone(self):
        made = self.make("probe-22")
        self.assertEqual(str(uuid.UUID(made.uuid)), made.uuid)
        self.assertEqual((made.name, made.version, made.num_tables), ("probe-22", "production", 0))
        self.query(made.uuid, "CREATE TABLE t(a, b)")
        self.query(made.uuid, "INSERT INTO t VALUES (?, ?)", ["x", 2])
        self.assertEqual(self.query(made.uuid, "SELECT a, b FROM t WHERE b = ?", [2]), [{"a": "x", "b": 2}])
        raw = next(iter(self.d1.raw(made.uuid, account_id=self.account, sql="SELECT a, b FROM t")))
        self.assertEqual((raw.results.columns, raw.results.rows), (["a", "b"], [["x", 2]]))
        exported = self.export(made.uuid)
        self.assertIn('INSERT INTO "t" ("a","b") VALUES(\'x\',2', exported)
        found = self.d1.get(made.uuid, account_id=self.account)
        self.assertEqual(found.num_tables, 1)
        self.assertGreaterEqual(found.file_size, 4096)
        self.d1.delete(made.uuid, account_id=self.account)
        self.refused(cloudflare.NotFoundError, 7404, self.d1.get, made.uuid)

    def export(self, database, **keywords):
        """The text of a dump, fetched without a token."""
        status = self.d1.export(database, account_id=self.account, output_format="polling", **keywords)
        if status.status == "active":
            status = self.wait(lambda: self.d1.export(
                database, account_id=self.account, output_format="polling", current_bookmark=status.at_bookmark))
        self.assertEqual((status.status, status.success, status.type), ("complete", True, "export"), status.error)
        with urllib.request.urlopen(status.result.signed_url) as answer:
            self.assertEqual(answer.headers["Content-Type"], "application/sql")
            return answer.read().decode()

    def load(self, database, text):
        """Imports a text; its last status."""
        etag = hashlib.md5(text.encode()).hexdigest()
        begun = self.d1.import_(database, account_id=self.account, action="init", etag=etag)
        if begun.upload_url:
            request = urllib.request.Request(begun.upload_url, data=text.encode(), method="PUT")
            with urllib.request.urlopen(request) as answer:
                self.assertEqual(answer.headers["ETag"], f'"{etag}"')
            begun = self.d1.import_(
                database, account_id=self.account, action="ingest", etag=etag, filename=begun.filename)
        self.assertEqual(begun.type, "import")
        if begun.status != "active":
            return begun
        return self.wait(lambda: self.d1.import_(
            database, account_id=self.account, action="poll", current_bookmark=begun.at_bookmark))

    def test_probe_2_numbers_of_json_are_real(self):
        database = self.make().uuid
        self.assertEqual(self.query(database, "SELECT typeof(?1) t", [1]), [{"t": "real"}])
        self.query(database, "CREATE TABLE t(a TEXT, b INTEGER)")
        self.query(database, "INSERT INTO t VALUES (?, ?)", [42, 42])
        self.assertEqual(self.query(database, "SELECT a, b FROM t"), [{"a": "42.0", "b": 42}])

    def test_probe_20_each_statement_has_a_result(self):
        database = self.make().uuid
        page = self.d1.query(database, account_id=self.account, sql="SELECT 1 AS a; SELECT 2 AS b")
        self.assertEqual([item.results for item in page.result], [[{"a": 1}], [{"b": 2}]])
        self.assertIn("syntax error", self.refused(cloudflare.BadRequestError, 7500, self.d1.query, database, sql="SELEC"))

    def test_probe_21_a_batch_is_one_transaction(self):
        database = self.make().uuid
        self.query(database, "CREATE TABLE t(a UNIQUE)")
        statement = {"sql": "INSERT INTO t VALUES (?)", "params": [1]}
        message = self.refused(cloudflare.BadRequestError, 7500, self.d1.query, database, batch=[statement, statement])
        self.assertEqual(message, "UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)")
        self.assertEqual(self.query(database, "SELECT count(*) n FROM t"), [{"n": 0}])
        page = self.d1.query(
            database, account_id=self.account, batch=[statement, {"sql": "SELECT a FROM t"}])
        self.assertEqual([item.results for item in page.result], [[], [{"a": 1}]])
        self.assertEqual(page.result[0].meta.changes, 1)

    def test_probe_22_of_d1_raw_keeps_all_columns(self):
        database = self.make().uuid
        raw = next(iter(self.d1.raw(database, account_id=self.account, sql="SELECT 1 AS a, 2 AS a")))
        self.assertEqual((raw.results.columns, raw.results.rows), (["a", "a"], [[1, 2]]))
        self.assertEqual(self.query(database, "SELECT 1 AS a, 2 AS a"), [{"a": 2}])

    def test_probe_23_names_are_given_once(self):
        made = self.make("probe-23")
        self.refused(cloudflare.BadRequestError, 7502, self.d1.create, name="probe-23")
        self.refused(cloudflare.NotFoundError, 7404, self.d1.get, str(uuid.uuid4()))
        self.assertEqual(self.d1.get("probe-23", account_id=self.account).uuid, made.uuid)

    def test_probe_24_there_and_back(self):
        database = self.make().uuid
        travel = self.d1.time_travel
        self.query(database, "CREATE TABLE t(a)")
        self.query(database, "INSERT INTO t VALUES (1), (2), (3)")
        bookmark = travel.get_bookmark(database, account_id=self.account).bookmark
        self.assertRegex(bookmark, "^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}$")
        self.query(database, "DELETE FROM t")
        restored = travel.restore(database, account_id=self.account, bookmark=bookmark)
        self.assertEqual(self.query(database, "SELECT count(*) n FROM t"), [{"n": 3}])
        self.assertGreater(restored.bookmark, restored.previous_bookmark)
        travel.restore(database, account_id=self.account, bookmark=restored.previous_bookmark)
        self.assertEqual(self.query(database, "SELECT count(*) n FROM t"), [{"n": 0}])

    def test_probe_25_a_file_is_imported_whole_or_not_at_all(self):
        database = self.make().uuid
        status = self.load(database, "CREATE TABLE t(a);\nINSERT INTO t VALUES (1), (2);\nINSERT INTO t VALUES (3);\n")
        self.assertEqual((status.status, status.result.num_queries), ("complete", 3), status.error)
        self.assertEqual(status.result.meta.changes, 3)
        self.assertEqual(
            status.result.final_bookmark,
            self.d1.time_travel.get_bookmark(database, account_id=self.account).bookmark)
        status = self.load(database, "INSERT INTO t VALUES (4);\nSELEC;\n")
        self.assertEqual((status.status, status.success), ("error", False))
        self.assertIn("syntax error", status.error)
        self.assertEqual(self.query(database, "SELECT count(*) n FROM t"), [{"n": 3}])
        other = self.make().uuid
        idle = self.d1.import_(other, account_id=self.account, action="poll", current_bookmark="")
        self.assertEqual((idle.success, idle.error), (False, "Not currently importing anything."))

    def test_probe_26_a_dump_comes_back_equal(self):
        database, copy = self.make().uuid, self.make().uuid
        self.query(database, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a, b TEXT UNIQUE)")
        self.query(database, "CREATE INDEX i ON t(a)")
        for values in [[1, "it's"], [None, "two\nlines"], [[0, 255, 39], 'quo"te'], [1.5, "ö"], [[], ""]]:
            self.query(database, "INSERT INTO t(a, b) VALUES (?, ?)", values)
        text = self.export(database)
        self.assertTrue(text.startswith("PRAGMA defer_foreign_keys=TRUE;"), text[:100])
        self.assertEqual(self.load(copy, text).status, "complete")
        both = "SELECT id, a, typeof(a) k, b FROM t ORDER BY id"
        self.assertEqual(self.query(copy, both), self.query(database, both))
        self.assertEqual(len(self.query(copy, both)), 5)
        # Another SQLite reads it too.
        with sqlite3.connect(":memory:") as connection:
            connection.executescript(text)
            self.assertEqual(connection.execute("SELECT b FROM t WHERE a = X'00FF27'").fetchall(), [('quo"te',)])
        only = self.export(database, dump_options={"no_data": True})
        self.assertIn("CREATE TABLE", only)
        self.assertNotIn("INSERT INTO \"t\"", only)
        only = self.export(database, dump_options={"no_schema": True, "tables": ["t"]})
        self.assertNotIn("CREATE TABLE", only)
        self.assertIn("INSERT INTO \"t\"", only)

    def test_lists_end_and_filter(self):
        names = [f"page-{number}" for number in range(7)]
        for name in names:
            self.make(name)
        self.assertEqual([item.name for item in self.d1.list(account_id=self.account, name="page-", per_page=3)], names)
        self.assertEqual([item.name for item in self.d1.list(account_id=self.account, name="age-4")], ["page-4"])

    def test_databases_are_changed(self):
        made = self.make()
        self.assertEqual(made.read_replication.mode, "disabled")
        changed = self.d1.update(made.uuid, account_id=self.account, read_replication={"mode": "auto"})
        self.assertEqual(changed.read_replication.mode, "auto")
        changed = self.d1.edit(made.uuid, account_id=self.account, read_replication={"mode": "disabled"})
        self.assertEqual(changed.read_replication.mode, "disabled")
        eu = self.d1.create(
            account_id=self.account, name="in-the-eu", primary_location_hint="weur", jurisdiction="eu")
        self.addCleanup(self.drop, eu.uuid)
        self.assertEqual(eu.to_dict()["jurisdiction"], "eu")


if __name__ == "__main__":
    unittest.main()
