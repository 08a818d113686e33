"""`edge queues` and `edge cache`, with the words and options of wrangler, against a real node."""

import json
import unittest

from harness import Node, edge, product, wait_until
from projects import Project
from rest import Rest


class Queues(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node(
            "run", product("StoreWorker"), "--kv", "KV", "--queue", "QUEUE=bound", "--service", "PLAIN=" + product("Notes"),
            "--no-log-requests"))
        cls.rest = Rest(cls.node)

    def run_edge(self, *words, code=0):
        done = edge("queues", *words, "--state", self.node.state, input="")
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        return done.stderr if code else done.stdout

    def json(self, *words):
        return json.loads(self.run_edge(*words, "--json"))

    def test_a_queue_from_its_making_to_its_end(self):
        made = self.run_edge("create", "mails", "--delivery-delay-secs", "5", "--message-retention-period-secs=3600")
        self.assertRegex(made, "^created queue mails: [0-9a-f]{32}\n$")
        info = self.json("info", "mails")
        self.assertEqual(info["settings"], {
            "delivery_delay": 5, "delivery_paused": False, "message_retention_period": 3600})
        self.assertEqual(info["metrics"]["backlog_count"], 0)
        self.run_edge("update", "mails", "--delivery-delay-secs", "0")
        self.assertEqual(self.json("info", "mails")["settings"]["message_retention_period"], 3600)
        self.run_edge("update", "mails", "--name", "letters")
        listed = self.run_edge("list")
        self.assertIn("letters", listed)
        self.assertNotIn("mails", listed)
        self.assertIn("bound", [queue["queue_name"] for queue in self.json("list")])
        text = self.run_edge("info", "bound")
        self.assertIn("Producers: worker:store-worker\n", text)
        self.assertIn("Number of Consumers: 0\n", text)
        self.rest.result("POST", f"queues/{info['queue_id']}/messages", {"body": "x"})
        self.assertIn("Messages: 1, 1 B\n", self.run_edge("info", "letters"))
        # Nobody can be asked here.
        self.assertIn("Delete the queue \"letters\" with 1 message?", self.run_edge("delete", "letters", code=64))
        self.assertEqual(self.run_edge("delete", "letters", "--yes"), "deleted queue letters\n")
        self.assertIn("there is no queue \"letters\"", self.run_edge("info", "letters", code=1))

    def test_pausing_and_purging(self):
        queue = self.json("create", "stopped")["queue_id"]
        self.run_edge("pause-delivery", "stopped")
        self.assertTrue(self.json("info", "stopped")["settings"]["delivery_paused"])
        self.assertIn("paused", self.run_edge("list"))
        self.assertEqual(self.run_edge("resume-delivery", "stopped"), "resumed delivery of queue stopped\n")
        self.assertFalse(self.json("info", "stopped")["settings"]["delivery_paused"])
        for _ in range(3):
            self.rest.result("POST", f"queues/{queue}/messages", {"body": "x"})
        self.assertIn("Delete 3 messages", self.run_edge("purge", "stopped", code=64))
        self.assertEqual(self.rest.result("GET", f"queues/{queue}/metrics")["backlog_count"], 3)
        self.run_edge("purge", "stopped", "--force")
        self.assertEqual(self.rest.result("GET", f"queues/{queue}/metrics")["backlog_count"], 0)

    def test_consumers_of_both_kinds(self):
        self.run_edge("create", "work")
        added = self.run_edge(
            "consumer", "add", "work", "store-worker", "--batch-size", "7", "--batch-timeout", "2", "--message-retries", "1",
            "--dead-letter-queue", "work-dead", "--max-concurrency", "4", "--retry-delay-secs", "9")
        self.assertEqual(added, "added worker:store-worker to queue work\n")
        [consumer] = self.json("consumer", "list", "work")
        self.assertEqual((consumer["script_name"], consumer["dead_letter_queue"]), ("store-worker", "work-dead"))
        self.assertEqual(consumer["settings"], {
            "batch_size": 7, "max_retries": 1, "max_wait_time_ms": 2000, "max_concurrency": 4, "retry_delay": 9})
        self.assertIn("Consumers: worker:store-worker", self.run_edge("info", "work"))
        self.assertEqual(self.json("consumer", "http", "list", "work"), [])
        self.assertIn("(11004)", self.run_edge("consumer", "http", "add", "work", code=1))
        self.assertIn("has no consumer \"other\"", self.run_edge("consumer", "remove", "work", "other", "--yes", code=1))
        self.run_edge("consumer", "worker", "remove", "work", "store-worker", "--yes")
        self.assertIn("(11001)", self.run_edge("consumer", "worker", "add", "work", "service-plain", code=1))
        self.run_edge(
            "consumer", "http", "add", "work", "--visibility-timeout-secs", "40", "--batch-size", "3", "--message-retries", "0")
        [consumer] = self.json("consumer", "http", "list", "work")
        self.assertEqual(consumer["settings"], {
            "batch_size": 3, "max_retries": 0, "visibility_timeout_ms": 40000, "retry_delay": 0})
        self.assertIn("http_pull", self.run_edge("consumer", "list", "work"))
        self.run_edge("consumer", "http", "remove", "work", "-y")
        self.assertEqual(self.json("consumer", "list", "work"), [])

    def test_mistakes(self):
        self.assertIn("did you mean \"queues purge\"", self.run_edge("purg", "x", code=64))
        self.assertIn("QUEUE is missing", self.run_edge("create", code=64))
        self.assertIn("expected a number of seconds", self.run_edge("create", "x", "--delivery-delay-secs", "soon", code=64))
        self.assertIn("what to change is missing", self.run_edge("update", "bound", code=64))
        self.assertIn("(11003)", self.run_edge("create", "A_b", code=1))
        self.assertIn("(11009)", self.run_edge("create", "bound", code=1))
        self.assertIn("(100128)", self.run_edge("create", "x", "--message-retention-period-secs", "1", code=1))


class Cache(unittest.TestCase):
    SHAPE = """format = 1
tenant = "acme"
compatibility_date = "2026-08-01"
[workers.front]
product = "StoreWorker"
routes = ["a.test/*", "b.test/*"]
cache = { enabled = true, ttl = "60s" }
"""

    def test_purges_and_figures_of_zones(self):
        with Project(self.SHAPE, {"dev": "format = 1\n"}) as project, project.dev("--no-watch") as node:
            def run(*words, code=0):
                done = edge("cache", *words, "--state", node.state, input="")
                self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
                return done.stderr if code else done.stdout

            def ask(host):
                return node.get("/counted/x", host=host).header("cf-cache-status")

            self.assertEqual([ask("a.test"), ask("a.test"), ask("b.test")], ["MISS", "HIT", "MISS"])
            wait_until(lambda: len(json.loads(run("status", "--json"))) == 2, what="both zones")
            lines = [line.split() for line in run("status").splitlines()]
            self.assertEqual(lines[0], ["ZONE", "RESPONSES", "SIZE", "HITS", "MISSES", "OTHERS", "EVICTED"])
            self.assertEqual([lines[1][0], lines[2][0]], ["a.test", "b.test"])
            # Hits, misses, others and evictions end the line: sizes have a space in them.
            self.assertEqual([line[-4:] for line in lines[1:]], [["1", "1", "0", "0"], ["0", "1", "0", "0"]])
            self.assertEqual(run("purge", "--host", "b.test"), "purged\n")
            self.assertEqual([ask("a.test"), ask("b.test")], ["HIT", "MISS"])
            self.assertIn("Purge all responses of a.test?", run("purge", "--everything", "--zone", "a.test", code=64))
            run("purge", "--everything", "--zone", "a.test", "--yes")
            self.assertEqual([ask("a.test"), ask("b.test")], ["MISS", "HIT"])
            run("purge", "--url", "http://a.test/counted/x", "--prefix", "b.test/counted")
            self.assertEqual([ask("a.test"), ask("b.test")], ["MISS", "MISS"])
            run("purge", "--everything", "--yes", "--tenant", "acme")
            self.assertEqual([ask("a.test"), ask("b.test")], ["MISS", "MISS"])
            self.assertIn("--everything, --url, --tag, --host or --prefix is missing", run("purge", code=64))
            self.assertIn("(1016)", run("purge", "--url", "nothing", code=1))
            self.assertIn("(10000)", run("purge", "--tag", "x", "--zone", "c.test", code=1))


if __name__ == "__main__":
    unittest.main()
