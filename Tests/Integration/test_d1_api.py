"""D1 over plain HTTP against a real node (spec d1, sections 2 to 12)."""

import glob
import hashlib
import http.client
import json
import os
import tempfile
import unittest
import urllib.error
import urllib.request
import uuid

from harness import Node, product, wait_until
from load import in_threads, memory_of
from projects import Project


class Client:
    """Asks a node's API about databases, with fresh tokens where there are many calls."""

    def __init__(self, node):
        self.node = node
        with open(os.path.join(node.state, "operator-token")) as file:
            self.token = file.read().strip()

    def raw(self, method, path, body=None, token="", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=120)
        try:
            all_headers = dict(headers or {})
            if token is not None:
                all_headers["Authorization"] = f"Bearer {token or self.token}"
            connection.request(method, path, body=body, headers=all_headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def ask(self, method, path, body=None, token=""):
        """(status, result, errors)"""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        status, _, text = self.raw(method, "/client/v4/accounts/local/d1/database" + path, data, token)
        answer = json.loads(text)
        return status, answer["result"], [(error["code"], error["message"]) for error in answer["errors"]]

    def make(self, name=None):
        status, result, errors = self.ask("POST", "", {"name": name or f"db-{uuid.uuid4().hex[:8]}"})
        if status != 200:
            raise AssertionError(errors)
        return result["uuid"]

    def rows(self, database, sql, params=None, token=""):
        status, result, errors = self.ask("POST", f"/{database}/query", {"sql": sql, "params": params}, token)
        if status != 200:
            raise AssertionError(f"{sql}: {status} {errors}")
        return result[-1]["results"]

    def new_token(self, *groups):
        body = {"name": "more", "policies": [{
            "effect": "allow", "resources": {"com.cloudflare.api.account.*": "*"},
            "permission_groups": [{"id": group} for group in groups or ["d1:edit"]]}]}
        _, _, text = self.raw("POST", "/client/v4/user/tokens", json.dumps(body))
        return json.loads(text)["result"]["value"]


class D1API(unittest.TestCase):
    seconds = 38

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("StoreWorker"), "--d1", "DB=main"))
        cls.client = Client(cls.node)
        cls.ask = cls.client.ask
        cls.rows = cls.client.rows

    def fails(self, database, body, status, code, text):
        got, _, errors = self.ask("POST", f"/{database}/query", body)
        self.assertEqual((got, errors[0][0]), (status, code), errors)
        self.assertIn(text, errors[0][1])

    def test_probe_1_and_2_every_type_of_value(self):
        database = self.client.make()
        rows = self.rows(
            database, "SELECT ?1 AS a, ?2 AS b, ?3 AS c, ?4 AS d, ?5 AS e, ?6 AS f", [None, True, "x\n\"ö\U0001F600", [1, 255], [], -1.5e-7])
        self.assertEqual(rows, [{"a": None, "b": 1, "c": "x\n\"ö\U0001F600", "d": [1, 255], "e": [], "f": -1.5e-7}])
        self.assertEqual(
            self.rows(database, "SELECT typeof(?1) a, typeof(?2) b, typeof(?3) c, typeof(?4) d", [1, False, [1], "1"]),
            [{"a": "real", "b": "real", "c": "blob", "d": "text"}])
        # Escapes, and halves of characters that have none.
        status, result, _ = self.ask(
            "POST", f"/{database}/query", b'{"params":["\\u0041\\ud83d\\ude00\\ud800\\n\\/",1e999],"sql":"SELECT ? a, ? b"}')
        self.assertEqual((status, result[0]["results"]), (200, [{"a": "A\U0001F600\ufffd\n/", "b": None}]))
        self.assertEqual(
            self.rows(database, "SELECT 9007199254740993 a, 1e21 b, 1.0 c, 9e999 d, CAST(X'ff41' AS TEXT) e"),
            [{"a": 9007199254740992, "b": 1e21, "c": 1, "d": None, "e": "\ufffdA"}])

    def test_probe_4_parameters_are_counted(self):
        database = self.client.make()
        for params in ([1, 2], [], None):
            self.fails(database, {"sql": "SELECT ?", "params": params}, 400, 7500,
                       "Wrong number of parameter bindings for SQL query.")

    def test_probe_7_and_8_what_statements_say_of_themselves(self):
        database = self.client.make()
        status, result, _ = self.ask("POST", f"/{database}/query", {"sql": "CREATE TABLE t(a)"})
        meta = result[0]["meta"]
        self.assertEqual((status, result[0]["success"], meta["changes"], meta["changed_db"], meta["size_after"] % 4096),
                         (200, True, 0, True, 0))
        _, result, _ = self.ask("POST", f"/{database}/query", {"sql": "INSERT INTO t VALUES (1), (2), (3)"})
        meta = result[0]["meta"]
        self.assertEqual((meta["changes"], meta["rows_written"], meta["last_row_id"]), (3, 3, 3))
        self.rows(database, "CREATE TABLE u(a); CREATE INDEX i ON u(a)")
        _, indexed, _ = self.ask("POST", f"/{database}/query", {"sql": "INSERT INTO u VALUES (1), (2), (3)"})
        self.assertEqual(indexed[0]["meta"]["rows_written"], 6)
        _, result, _ = self.ask("POST", f"/{database}/query", {"sql": "SELECT * FROM t"})
        meta = result[0]["meta"]
        self.assertEqual(meta["rows_read"], 3)
        self.assertEqual(
            set(meta),
            {"served_by", "served_by_region", "served_by_colo", "served_by_primary", "timings", "duration", "changes",
             "last_row_id", "changed_db", "size_after", "rows_read", "rows_written", "total_attempts"})

    def test_probe_5_columns_of_one_name(self):
        database = self.client.make()
        self.assertEqual(self.rows(database, "SELECT 1 AS x, 2 AS x"), [{"x": 2}])
        _, result, _ = self.ask("POST", f"/{database}/raw", {"sql": "SELECT 1 AS x, 2 AS x; SELECT 1 AS y WHERE 0"})
        self.assertEqual(
            [item["results"] for item in result],
            [{"columns": ["x", "x"], "rows": [[1, 2]]}, {"columns": ["y"], "rows": []}])

    def test_probe_9_rows_that_were_read(self):
        database = self.client.make()
        self.rows(database, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        self.rows(database, "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
                            "SELECT i, i FROM n")
        for sql, read in [("SELECT * FROM t", 1000), ("SELECT * FROM t WHERE id = 5", 1), ("SELECT * FROM t LIMIT 5", 5),
                          ("SELECT count(*) FROM t", 1000)]:
            _, result, _ = self.ask("POST", f"/{database}/query", {"sql": sql})
            self.assertEqual(result[0]["meta"]["rows_read"], read, sql)

    def test_probe_10_11_and_17_a_batch_is_one_transaction(self):
        database = self.client.make()
        self.rows(database, "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE p(id INTEGER PRIMARY KEY);"
                            "CREATE TABLE c(p INTEGER REFERENCES p(id))")
        insert = {"sql": "INSERT INTO t VALUES (?)", "params": [1]}
        self.fails(database, {"batch": [insert, insert]}, 400, 7500,
                   "UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)")
        self.assertEqual(self.rows(database, "SELECT * FROM t"), [])
        self.fails(database, {"batch": []}, 400, 7500, "No SQL statements detected.")
        child, parent = {"sql": "INSERT INTO c VALUES (7)"}, {"sql": "INSERT INTO p VALUES (7)"}
        self.fails(database, {"batch": [child, parent]}, 400, 7500, "SQLITE_CONSTRAINT_FOREIGNKEY")
        status, result, errors = self.ask(
            "POST", f"/{database}/query", {"batch": [{"sql": "PRAGMA defer_foreign_keys = on"}, child, parent]})
        self.assertEqual((status, len(result or [])), (200, 3), errors)

    def test_probe_16_full_text_search(self):
        database = self.client.make()
        self.rows(database, "CREATE VIRTUAL TABLE docs USING fts5(body)")
        self.rows(database, "INSERT INTO docs VALUES ('the quick fox'), ('a slow dog')")
        self.assertEqual(self.rows(database, "SELECT body FROM docs WHERE docs MATCH 'fox' ORDER BY bm25(docs)"),
                         [{"body": "the quick fox"}])
        self.fails(database, {"sql": "CREATE VIRTUAL TABLE v USING dbstat"}, 400, 7500, "not authorized")

    def test_probe_19_bookmarks_advance_with_writes(self):
        database = self.client.make()
        bookmarks = []
        for sql in ["CREATE TABLE t(a)", "INSERT INTO t VALUES (1)"]:
            self.rows(database, sql)
            bookmarks.append(self.ask("GET", f"/{database}/time_travel/bookmark")[1]["bookmark"])
        self.rows(database, "SELECT * FROM t")
        self.assertLess(bookmarks[0], bookmarks[1])
        self.assertEqual(self.ask("GET", f"/{database}/time_travel/bookmark")[1]["bookmark"], bookmarks[1])

    def test_probe_13_to_16_what_is_forbidden(self):
        database = self.client.make()
        self.rows(database, "CREATE TABLE t(a)")
        for sql, text in [
            ("BEGIN TRANSACTION", "To execute a transaction, please use"), ("ATTACH 'x' AS y", "not authorized: SQLITE_AUTH"),
            ("VACUUM", "not authorized: SQLITE_AUTH"), ("CREATE TEMP TABLE x(a)", "not authorized: SQLITE_AUTH"),
            ("PRAGMA journal_mode", "not authorized: SQLITE_AUTH"), ("CREATE TABLE _cf_x(a)", "not authorized"),
            ("ALTER TABLE t RENAME TO _cf_x", "not authorized"), ("create table _CF_X(a)", "not authorized"),
            ("PRAGMA user_version", "not authorized: SQLITE_AUTH"), ("PRAGMA cache_size", "not authorized: SQLITE_AUTH"),
            ("SELECT sqlite_version()", "not authorized to use function"),
        ]:
            with self.subTest(sql=sql):
                self.fails(database, {"sql": sql}, 400, 7500, text)
        self.assertEqual(self.rows(database, "PRAGMA foreign_keys"), [{"foreign_keys": 1}])
        self.assertEqual(self.rows(database, "PRAGMA table_info(t)")[0]["name"], "a")

    def test_probe_18_limits(self):
        database = self.client.make()
        self.assertEqual(len(self.rows(database, "SELECT " + ",".join("?" * 100), list(range(100)))[0]), 1)
        names = ",".join(f"?{number}" for number in range(1, 101))
        self.assertEqual(self.rows(database, f"SELECT max({names}) m", list(range(100))), [{"m": 99}])
        self.fails(database, {"sql": "SELECT max(" + ",".join("?" * 101) + ")", "params": [0] * 101}, 400, 7500,
                   "too many SQL variables")
        self.fails(database, {"sql": "SELECT 1 --" + "x" * 100_000}, 400, 7500, "SQLITE_TOOBIG")
        self.assertEqual(self.rows(database, "SELECT length(?) n", [[7] * 2_000_000]), [{"n": 2_000_000}])
        self.fails(database, {"sql": "SELECT length(?)", "params": [[7] * 2_000_001]}, 400, 7500,
                   "string or blob too big: SQLITE_TOOBIG")

    def test_what_no_body_may_be(self):
        database = self.client.make()
        for body, text in [
            (b"", "JSON"), (b"{", "JSON"), (b'{"sql":1}', "/sql"), (b"[]", "body"), (b"{}", "/sql"), (b'{"batch":{}}', "/batch"),
            (b'{"batch":[{"params":[]}]}', "/batch/0/sql"), (b'{"sql":"SELECT ?","params":{}}', "/params"),
            (b'{"sql":"SELECT ?","params":[{}]}', "/params/0"), (b'{"sql":"SELECT ?","params":[[256]]}', "/params/0"),
            (b'{"sql":"SELECT ?","params":[[1.5]]}', "/params/0"), (b'{"sql":"SELECT ?","params":[["1"]]}', "/params/0"),
            (b'{"sql":"SELECT 1","batch":[]}', "one of sql and batch"),
            (json.dumps({"batch": [{"sql": "SELECT 1"}] * 10_001}).encode(), "at most 10000"),
            (b"[" * 100_000, "JSON"),
        ]:
            with self.subTest(body=body[:60]):
                self.fails(database, body, 400, 7400, text)
        self.fails(database, {"batch": []}, 400, 7500, "No SQL statements detected.")
        self.fails(database, {"sql": "-- nothing"}, 400, 7500, "No SQL statements detected.")
        self.fails(database, b'{"sql":"' + b"x" * (33 << 20) + b'"}', 413, 7400, "longer than")
        # What isn't known is left alone.
        status, result, _ = self.ask(
            "POST", f"/{database}/query", b' { "x" : [ 1 , {"y":"]"} ] , "sql" : "SELECT 1 a" , "params" : null } ')
        self.assertEqual((status, result[0]["results"]), (200, [{"a": 1}]))

    def test_databases_that_cannot_be(self):
        for body, code in [
            ({"name": ""}, 7400), ({"name": "a b"}, 7400), ({"name": "x" * 129}, 7400), ({}, 7400), ({"name": 1}, 7400),
            ({"name": "ok", "primary_location_hint": "moon"}, 7400), ({"name": "ok", "jurisdiction": "moon"}, 7400),
            ({"name": "ok", "read_replication": {"mode": "x"}}, 7400), (b"nonsense", 7400),
        ]:
            status, _, errors = self.ask("POST", "", body)
            self.assertEqual((status, errors[0][0]), (400, code), body)
        for name, code in [("nope", 7404), (str(uuid.uuid4()), 7404), ("x" * 129, 7003), ("a%20b", 7003), ("a%2Fb", 7003)]:
            for method, path, body in [
                ("GET", "", None), ("DELETE", "", None), ("PATCH", "", {}), ("POST", "/query", {"sql": "SELECT 1"}),
                ("POST", "/raw", {"sql": "SELECT 1"}), ("POST", "/import", {"action": "poll"}),
                ("POST", "/export", {"output_format": "polling"}), ("GET", "/time_travel/bookmark", None),
                ("POST", "/time_travel/restore?bookmark=x", None), ("GET", "/migrations", None),
            ]:
                status, _, errors = self.ask(method, f"/{name}{path}", body)
                self.assertEqual((status, errors[0][0]), (404, code), (method, name, path))
        status, _, errors = self.ask("GET", "?per_page=0")
        self.assertEqual(status, 400)

    def test_fields_are_chosen(self):
        database = self.client.make("fields")
        for query in ["fields=uuid,name", "fields=uuid&fields=name"]:
            self.assertEqual(self.ask("GET", f"/fields?{query}")[1], {"uuid": database, "name": "fields"})
        self.assertEqual(self.ask("GET", "/fields")[1]["running_in_region"], "WEUR")

    def test_a_token_may_do_what_it_was_given(self):
        database = self.client.make()
        reader, other = self.client.new_token("d1:read"), self.client.new_token("kv:edit")
        self.assertEqual(self.ask("GET", f"/{database}", token=reader)[0], 200)
        self.assertEqual(self.ask("GET", f"/{database}/time_travel/bookmark", token=reader)[0], 200)
        for method, path, body in [
            ("DELETE", "", None), ("POST", "/query", {"sql": "SELECT 1"}), ("POST", "/export", {"output_format": "polling"}),
            ("POST", "/import", {"action": "poll"}), ("POST", "/time_travel/restore?bookmark=x", None),
        ]:
            self.assertEqual(self.ask(method, f"/{database}{path}", body, token=reader)[0], 403)
        self.assertEqual(self.ask("GET", f"/{database}", token=other)[0], 403)

    def test_what_changes_the_account_is_audited_and_what_changes_data_is_not(self):
        database = self.client.make()
        self.rows(database, "CREATE TABLE t(a)")
        bookmark = self.ask("GET", f"/{database}/time_travel/bookmark")[1]["bookmark"]
        self.ask("POST", f"/{database}/time_travel/restore?bookmark={bookmark}")
        self.ask("DELETE", f"/{database}")
        _, _, text = self.client.raw("GET", "/client/v4/accounts/local/audit_logs?per_page=100")
        entries = [entry["action"]["type"] for entry in json.loads(text)["result"]
                   if entry["resource"]["id"].partition("?")[0].rpartition("/database")[2].startswith(f"/{database}")]
        self.assertEqual(entries, ["d1.database.delete", "d1.time_travel.restore"])

    def test_large_answers_stream_and_larger_ones_are_refused(self):
        database = self.client.make()
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
        token = self.client.new_token()
        rows = self.rows(database, numbers.format(20_000) + "SELECT i, hex(zeroblob(200)) h, 1 AS i FROM n", token=token)
        self.assertEqual((len(rows), rows[-1]), (20_000, {"i": 1, "h": "00" * 200}))
        status, result, _ = self.ask("POST", f"/{database}/raw", {"sql": numbers.format(20_000) + "SELECT i, i FROM n"})
        self.assertEqual((status, result[0]["results"]["rows"][-1]), (200, [20_000, 20_000]))
        self.assertEqual(self.rows(database, "SELECT zeroblob(300000) b, ? t", ["ö" * 100_001])[0],
                         {"b": [0] * 300_000, "t": "ö" * 100_001})
        before = memory_of(self.node.process.pid)
        # 20 MB in the store's own form, 80 MB as JSON.
        _, _, text = self.client.raw(
            "POST", f"/client/v4/accounts/local/d1/database/{database}/query",
            json.dumps({"sql": numbers.format(10) + "SELECT randomblob(2000000) b FROM n"}))
        self.assertEqual(len(json.loads(text)["result"][0]["results"]), 10)
        self.assertLess(memory_of(self.node.process.pid) - before, len(text))
        self.fails(database, {"sql": numbers.format(100_000) + "SELECT zeroblob(2000) FROM n"}, 400, 7500,
                   "exceeded its memory limit")

    def test_probe_28_concurrent_updates_are_all_there(self):
        database = self.client.make()
        self.rows(database, "CREATE TABLE c(n)")
        self.rows(database, "INSERT INTO c VALUES (0)")
        tokens = [self.client.new_token() for _ in range(10)]

        def work(number):
            for _ in range(100):
                self.rows(database, "UPDATE c SET n = n + 1", token=tokens[number])

        in_threads(10, work)
        self.assertEqual(self.rows(database, "SELECT n FROM c"), [{"n": 1000}])

    def test_timestamps_and_bookmarks_are_checked(self):
        database = self.client.make()
        self.rows(database, "CREATE TABLE t(a)")
        for query, code in [
            ("", 7400), ("bookmark=nonsense", 7400), ("timestamp=yesterday", 7400), ("timestamp=2030-01-31T00:00:00", 7400),
            ("bookmark=ffffffff-ffffffff-ffffffff-" + "f" * 32, 7400), ("timestamp=1999-01-01T00:00:00Z", 7400),
        ]:
            status, _, errors = self.ask("POST", f"/{database}/time_travel/restore?{query}")
            self.assertEqual(status, 400, query)
            self.assertIn(errors[0][0], (code, 7500), query)
        _, now, _ = self.ask("GET", f"/{database}/time_travel/bookmark")
        for text in ["2100-01-31T00:00:00Z", "2100-01-31t00:00:00.123456z", "2100-01-31T00:00:00.5%2B01:30"]:
            status, _, errors = self.ask("GET", f"/{database}/time_travel/bookmark?timestamp={text}")
            # A time to come has no state yet; that it was read is what matters.
            self.assertNotIn("RFC 3339", str(errors), text)
        _, again, _ = self.ask("GET", f"/{database}/time_travel/bookmark")
        self.assertEqual(now, again)

    def test_restores_are_counted(self):
        database = self.client.make()
        self.rows(database, "CREATE TABLE t(a)")
        bookmark = self.ask("GET", f"/{database}/time_travel/bookmark")[1]["bookmark"]
        for _ in range(10):
            self.assertEqual(self.ask("POST", f"/{database}/time_travel/restore?bookmark={bookmark}")[0], 200)
        status, _, errors = self.ask("POST", f"/{database}/time_travel/restore?bookmark={bookmark}")
        self.assertEqual((status, errors[0][0]), (429, 7500))


class Transfers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        cls.client = Client(cls.node)
        cls.ask = cls.client.ask

    def put(self, url, data):
        request = urllib.request.Request(url, data=data, method="PUT")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers["ETag"]
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["errors"][0]["code"]

    def test_a_file_must_be_the_one_that_was_announced(self):
        database = self.client.make()
        etag = hashlib.md5(b"SELECT 1;").hexdigest()
        _, begun, _ = self.ask("POST", f"/{database}/import", {"action": "init", "etag": etag})
        self.assertEqual(set(begun), {"filename", "upload_url"})
        self.assertEqual(self.put(begun["upload_url"], b"SELECT 2;"), (400, 7400))
        self.assertEqual(self.put(begun["upload_url"] + "x", b"SELECT 1;"), (404, 7404))
        for body, status, code in [
            ({"action": "ingest", "etag": etag, "filename": begun["filename"]}, 400, 7400),
            ({"action": "ingest", "etag": etag, "filename": "nope"}, 404, 7404),
            ({"action": "init", "etag": "nope"}, 400, 7400), ({"action": "init"}, 400, 7400), ({"action": "x"}, 400, 7400),
        ]:
            got, _, errors = self.ask("POST", f"/{database}/import", body)
            self.assertEqual((got, errors[0][0]), (status, code), body)
        self.assertEqual(self.put(begun["upload_url"], b"SELECT 1;"), (200, f'"{etag}"'))
        # What is there need not be sent again, and has begun.
        _, begun, _ = self.ask("POST", f"/{database}/import", {"action": "init", "etag": etag})
        self.assertEqual(begun["type"], "import")
        self.assertNotIn("upload_url", begun)

    def test_dumps_are_fetched_without_a_token_and_by_their_name_only(self):
        database = self.client.make()
        self.client.rows(database, "CREATE TABLE t(a)")
        status = {}

        def is_done():
            # Also without a bookmark: who asks again and again gets to the end.
            status.update(self.ask("POST", f"/{database}/export", {"output_format": "polling"})[1])
            return status["status"] == "complete"

        wait_until(is_done)
        url = status["result"]["signed_url"]
        with urllib.request.urlopen(url) as answer:
            self.assertTrue(answer.read().startswith(b"PRAGMA defer_foreign_keys=TRUE;"))
        for wrong in [url[:-5], url.replace("files/", "files/x"), url.rsplit("/", 1)[0] + "/..%2F..%2Fformat"]:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(wrong)
            self.assertEqual(caught.exception.code, 404)
            caught.exception.close()
        code, _, errors = self.ask(
            "POST", f"/{database}/export",
            {"output_format": "polling", "dump_options": {"no_data": True, "no_schema": True}})
        self.assertEqual((code, errors[0][0]), (400, 7400))

    def test_an_import_needs_no_memory(self):
        database = self.client.make()
        line = b"INSERT INTO t VALUES ('" + b"x" * 900 + b"');\n"
        data = b"CREATE TABLE t(a);\n" + line * 60_000
        etag = hashlib.md5(data).hexdigest()
        _, begun, _ = self.ask("POST", f"/{database}/import", {"action": "init", "etag": etag})
        before = memory_of(self.node.process.pid)
        self.assertEqual(self.put(begun["upload_url"], data), (200, f'"{etag}"'))
        self.ask("POST", f"/{database}/import", {"action": "ingest", "etag": etag, "filename": begun["filename"]})
        status = {}

        def is_done():
            status.update(self.ask("POST", f"/{database}/import", {"action": "poll"})[1])
            return status["status"] != "active"

        wait_until(is_done, 120)
        self.assertEqual((status["status"], status["result"]["num_queries"]), ("complete", 60_001))
        self.assertLess(memory_of(self.node.process.pid) - before, 24 << 20)
        self.assertEqual(self.client.rows(database, "SELECT count(*) n FROM t"), [{"n": 60_000}])


class Migrations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        cls.client = Client(cls.node)
        cls.ask = cls.client.ask

    good = {"name": "0001_ok.sql", "sql": "CREATE TABLE a(x);"}
    bad = {"name": "0002_bad.sql", "sql": "CREATE TABLE b(x); SELEC;"}
    third = {"name": "0003_more.sql", "sql": "CREATE TABLE c(x);"}

    def apply(self, database, files, **more):
        return self.ask("POST", f"/{database}/migrations", {"files": files, **more})

    def names(self, database):
        return [item["name"] for item in self.ask("GET", f"/{database}/migrations")[1]]

    def tables(self, database):
        return {row["name"] for row in self.client.rows(
            database, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'd1_%'")} - {"sqlite_sequence"}

    def test_probe_27_each_is_a_transaction_where_that_is_asked_for(self):
        database = self.client.make()
        files = [self.third, self.bad, self.good]
        status, result, errors = self.apply(database, files, scope="each")
        self.assertEqual((status, result["succeeded"]), (200, False), errors)
        self.assertEqual(
            [(item["name"], item["status"]) for item in result["migrations"]],
            [("0001_ok.sql", "applied"), ("0002_bad.sql", "failed"), ("0003_more.sql", "skipped")])
        self.assertIn("syntax error", result["migrations"][1]["error"])
        self.assertEqual((self.names(database), self.tables(database)), (["0001_ok.sql"], {"a"}))
        files[1] = {"name": "0002_bad.sql", "sql": "CREATE TABLE b(x);"}
        _, result, _ = self.apply(database, files, scope="each")
        self.assertTrue(result["succeeded"])
        self.assertEqual(self.names(database), ["0001_ok.sql", "0002_bad.sql", "0003_more.sql"])
        self.assertEqual(self.apply(database, files)[1]["migrations"], [])

    def test_all_are_one_transaction_else(self):
        database = self.client.make()
        self.assertEqual(self.names(database), [])
        _, result, _ = self.apply(database, [self.good, self.bad])
        self.assertEqual([item["status"] for item in result["migrations"]], ["skipped", "failed"])
        self.assertEqual((self.names(database), self.tables(database)), ([], set()))
        _, result, _ = self.apply(database, [self.good, self.third], up_to="0001_ok.sql")
        self.assertEqual([item["name"] for item in result["migrations"]], ["0001_ok.sql"])
        self.assertEqual(self.names(database), ["0001_ok.sql"])
        # The state before is there to go back to.
        self.assertEqual(self.ask("POST", f"/{database}/time_travel/restore?bookmark={result['bookmark']}")[0], 200)
        self.assertEqual(self.tables(database), set())

    def test_an_applied_file_stays_as_it_was(self):
        database = self.client.make()
        self.apply(database, [self.good])
        status, _, errors = self.apply(database, [{"name": "0001_ok.sql", "sql": "CREATE TABLE z(x);"}])
        self.assertEqual((status, errors[0][0]), (400, 7400))
        self.assertIn("0001_ok.sql", errors[0][1])
        self.assertEqual(self.apply(database, [self.third, self.third])[0], 400)


class OneSet(unittest.TestCase):
    """What a configuration names and what the API makes are the same databases."""

    def test_a_bound_database_has_an_id_that_stays(self):
        with tempfile.TemporaryDirectory() as state:
            arguments = ("run", product("StoreWorker"), "--d1", "DB=main")
            with Node(*arguments, state=state) as node:
                client = Client(node)
                self.assertEqual(node.request("POST", "/d1/exec", body="CREATE TABLE t(a)\nINSERT INTO t VALUES(7)").status, 200)
                database = client.ask("GET", "/main")[1]["uuid"]
                self.assertEqual(client.rows(database, "SELECT a FROM t"), [{"a": 7}])
                self.assertEqual([item["name"] for item in client.ask("GET", "")[1]], ["main"])
                node.stop()
            # As an older node left it: files, and no catalog.
            for path in glob.glob(f"{state}/local/d1/%2fcatalog*"):
                if os.path.isfile(path):
                    os.unlink(path)
                else:
                    for name in os.listdir(path):
                        os.unlink(os.path.join(path, name))
                    os.rmdir(path)
            with Node("run", product("StoreWorker"), state=state) as node:
                client = Client(node)
                adopted = client.ask("GET", "/main")[1]["uuid"]
                self.assertEqual(client.rows(adopted, "SELECT a FROM t"), [{"a": 7}])
                made = client.make("by-rest")
                node.stop()
            with Node("run", product("StoreWorker"), "--d1", "DB=by-rest", state=state) as node:
                client = Client(node)
                self.assertEqual(client.ask("GET", "/main")[1]["uuid"], adopted)
                self.assertEqual(node.request("POST", "/d1/exec", body="CREATE TABLE r(a)").status, 200)
                self.assertEqual(client.ask("GET", f"/{made}")[1]["num_tables"], 1)
                self.assertEqual(len(client.ask("GET", "")[1]), 2)

    def test_a_deleted_database_is_gone_for_bindings_too(self):
        with Node("run", product("StoreWorker"), "--d1", "DB=main") as node:
            client = Client(node)
            self.assertEqual(node.request("POST", "/d1/exec", body="CREATE TABLE t(a)").status, 200)
            self.assertEqual(client.ask("DELETE", "/main")[0], 200)
            self.assertEqual(node.request("POST", "/d1/exec", body="CREATE TABLE t(a)").status, 500)
            self.assertEqual(client.ask("GET", "")[1], [])
            self.assertEqual(glob.glob(f"{node.state}/local/d1/main*"), [])
            # The name is free, and means another one.
            self.assertEqual(client.rows(client.make("main"), "SELECT 1 a"), [{"a": 1}])

    def test_a_plan_bounds_how_many_there_are(self):
        shape = """format = 1
tenant = "local"
compatibility_date = "2026-08-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
d1 = [{ binding = "DB", resource = "app" }]
limits = { profile = "cloudflare-free" }
"""
        with Project(shape, {"dev": 'format = 1\n'}) as project:
            with Node("dev", "--no-build", "--no-watch", cwd=project.directory, state=project.path("state/dev")) as node:
                client = Client(node)
                # The configuration's counts, the catalog doesn't.
                for number in range(9):
                    client.make(f"db-{number}")
                status, _, errors = client.ask("POST", "", {"name": "more"})
                self.assertEqual(
                    (status, errors), (400, [(7406, "System limit reached: databases per account (10)")]))
                for item in client.ask("GET", "")[1]:
                    self.assertEqual(client.rows(item["uuid"], "SELECT 1 a"), [{"a": 1}])
                self.assertEqual(client.ask("DELETE", "/db-0")[0], 200)
                client.make("more")

    def test_a_renamed_database_keeps_its_bindings(self):
        with Node("run", product("StoreWorker"), "--d1", "DB=main") as node:
            client = Client(node)
            self.assertEqual(client.ask("PATCH", "/main", {"name": "other"})[1]["name"], "other")
            self.assertEqual(node.request("POST", "/d1/exec", body="CREATE TABLE t(a)").status, 200)
            self.assertEqual(client.ask("GET", "/other")[1]["num_tables"], 1)
            self.assertEqual(client.ask("GET", "/main")[0], 404)


if __name__ == "__main__":
    unittest.main()
