"""The Analytics Engine: points that workers write, and the SQL that the control listener answers."""

import json
import os
import unittest

from harness import Node, product, wait_until
from projects import Project
from rest import Rest

SHAPE = """format = 1
tenant = "acme"
compatibility_date = "2026-08-01"
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*"]
analytics = [{ binding = "POINTS", dataset = "points" }]
"""


def sql(node, text, account="acme", method="POST", query="", **keywords):
    return Rest(node, account).ask(method, "analytics_engine/sql" + query, text, **keywords)


def write(node, *points):
    answer = node.request("POST", "/points", body=json.dumps(points))
    assert answer.status == 200, answer.text


class AnalyticsEngine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.project = Project(SHAPE)
        cls.node = cls.project.dev("--no-watch").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.project.__exit__()

    def test_probe_18_three_points_have_their_exact_sum(self):
        write(self.node, *({"indexes": ["probe"], "blobs": ["b", None], "doubles": [number]} for number in (1.5, 2.25, 4)))
        write(self.node, {"indexes": ["probe", "two"], "doubles": [100]})
        answer = sql(self.node, "SELECT sum(double1*_sample_interval) AS total, count() AS n FROM points WHERE index1 = 'probe'")
        self.assertEqual((answer.status, answer.header("Content-Type")), (200, "application/json"))
        self.assertEqual(answer.json(), {
            "meta": [{"name": "total", "type": "Float64"}, {"name": "n", "type": "UInt64"}],
            "data": [{"total": 7.75, "n": "3"}], "rows": 1})
        self.node.wait_for_log("writeDataPoint: the point was dropped: 2 indexes, at most 1 is allowed")

    def test_an_event_writes_250_points(self):
        write(self.node, {"indexes": ["many"], "doubles": [1], "count": 300})
        answer = sql(self.node, "SELECT count() FROM points WHERE index1 = 'many' FORMAT TabSeparated")
        self.assertEqual(answer.text, "250\n")
        self.node.wait_for_log("more than 250 points in one event")

    def test_queries_are_refused_with_their_place(self):
        write(self.node, {"doubles": [1]})
        answer = sql(self.node, "SELECT doubel1\nFROM points")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json()["errors"], [
            {"code": 10001, "message": "line 1, column 8: unknown column \"doubel1\"; did you mean \"double1\"?"}])
        self.assertEqual(sql(self.node, "SELECT 1", account="other").status, 403)
        self.assertEqual(sql(self.node, "SELECT 1", token="x" * 40).status, 401)
        self.assertEqual(sql(self.node, None, method="PUT").status, 405)
        self.assertEqual(sql(self.node, None, method="GET").status, 400)
        self.assertEqual(sql(self.node, None, method="GET", query="?query=SELECT%201+%2B%201").status, 200)
        self.assertEqual(sql(self.node, "x" * 100_000).status, 400)
        self.assertEqual(sql(self.node, b"SELECT '\xff'").status, 400)
        # Clients of the platform can't ask.
        answer = self.node.request("POST", "/client/v4/accounts/acme/analytics_engine/sql", body="SELECT 1")
        self.assertEqual(answer.status, 404)

    def test_formats_and_lists(self):
        write(self.node, {"blobs": ["a\tb"], "indexes": ["format"]})
        query = "SELECT blob1 FROM points WHERE index1 = 'format'"
        self.assertEqual(sql(self.node, query + " FORMAT TabSeparated").text, "a\\tb\n")
        self.assertEqual(sql(self.node, query + " FORMAT JSONEachRow").json(), {"blob1": "a\tb"})
        self.assertEqual(sql(self.node, "SHOW TABLES FORMAT TabSeparated").text, "points\n")
        self.assertEqual(sql(self.node, "SHOW TIMEZONE").json()["data"], [{"timezone": "Etc/UTC"}])
        self.assertIn({"timezone": "Etc/UTC"}, sql(self.node, "SHOW TIMEZONES").json()["data"])
        self.assertEqual(sql(self.node, "SELECT 1 + 1 AS two").json()["data"], [{"two": "2"}])


class AnalyticsDurability(unittest.TestCase):
    def test_flushed_points_survive_kill_9(self):
        with Project(SHAPE) as project:
            for turn in range(1, 4):
                with project.dev("--no-watch") as node:
                    write(node, {"doubles": [turn], "count": 100})
                    # A query writes first what it then reads.
                    answer = sql(
                        node, "SELECT count(), sum(double1) FROM points WHERE index1 = '' FORMAT TabSeparated")
                    self.assertEqual(answer.text, f"{turn * 100}\t{sum(range(turn + 1)) * 100}\n")
                    write(node, {"indexes": ["later"], "doubles": [0.001]})
                    node.kill()
                with project.dev("--no-watch") as node:
                    answer = sql(node, "SELECT count() FROM points WHERE index1 = '' FORMAT TabSeparated")
                    self.assertEqual(answer.text, f"{turn * 100}\n")
                    self.assertEqual(node.stop(), 0)

    def test_points_are_on_disk_soon_and_at_the_end(self):
        with Project(SHAPE) as project:
            with project.dev("--no-watch") as node:
                write(node, {"doubles": [1]})
                folder = project.path("state/acme/analytics/points")
                wait_until(lambda: os.path.isdir(folder) and any(
                    os.path.getsize(os.path.join(folder, name)) > 8 for name in os.listdir(folder)))
                node.kill()
            with project.dev("--no-watch") as node:
                write(node, {"doubles": [2]})
                self.assertEqual(node.stop(), 0)
            with project.dev("--no-watch") as node:
                answer = sql(node, "SELECT sum(double1) FROM points FORMAT TabSeparated")
                self.assertEqual(answer.text, "3\n")

    def test_an_hour_that_was_torn_ends_with_its_last_whole_point(self):
        with Project(SHAPE) as project:
            with project.dev("--no-watch") as node:
                write(node, {"doubles": [1], "count": 10})
                self.assertEqual(node.stop(), 0)
            folder = project.path("state/acme/analytics/points")
            path = os.path.join(folder, sorted(os.listdir(folder))[-1])
            os.truncate(path, os.path.getsize(path) - 3)
            with project.dev("--no-watch") as node:
                self.assertEqual(sql(node, "SELECT count() FROM points FORMAT TabSeparated").text, "9\n")
                write(node, {"doubles": [1]})
                self.assertEqual(sql(node, "SELECT count() FROM points FORMAT TabSeparated").text, "10\n")


class OtherEnvironments(unittest.TestCase):
    def test_all_answer_whoever_has_a_token(self):
        environments = {"staging": 'format = 1\ndomain = "localhost"\nlisten = ["127.0.0.1:0"]\n'}
        with Project(SHAPE, environments) as project:
            with Node("serve", "--environment", "staging", "--project", project.directory, "--products",
                      project.path(".build/debug"), "--key-file", project.path("key"),
                      state=project.path("state")) as node:
                write(node, {"doubles": [1]})
                self.assertEqual(sql(node, "SELECT double1 FROM points FORMAT TabSeparated").text, "1\n")
                self.assertEqual(sql(node, "SELECT 1", token="x" * 40).status, 401)


if __name__ == "__main__":
    unittest.main()
