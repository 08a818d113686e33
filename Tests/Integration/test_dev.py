"""`edge dev` following changes: what is new comes into service, what is broken doesn't, and no request is lost.

Nothing is compiled here: with --no-build, executables that somebody else built are the change to follow.
"""

import http.client
import os
import signal
import threading
import time
import unittest

from harness import PRODUCTS, is_alive, wait_until
from projects import Project

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.front]
product = "HelloWorker"
routes = ["{domain}/*"]
services = [{ binding = "SERVICE", worker = "back" }]
secrets = ["KEY"]
vars = { GREETING = "one" }

[workers.back]
product = "StoreWorker"
kv = [{ binding = "KV", resource = "kv" }]
d1 = [{ binding = "DB", resource = "db", migrations = "migrations" }]
"""
FIRST = "CREATE TABLE pairs (id INTEGER, side TEXT) STRICT;\n"


class Load:
    """Clients that ask without a pause, and note each answer that is not the expected one."""

    def __init__(self, node, *paths, clients=1):
        self.node = node
        self.over = False
        self.failures = []
        self.counts = {path: 0 for path in paths}
        self.last = {}
        self.threads = [threading.Thread(target=self.run, args=(path,)) for path in paths for _ in range(clients)]

    def run(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        # A POST is never tried a second time behind our back.
        method = "POST" if path in ("/echo", "/length") else "GET"
        while not self.over:
            started = time.monotonic()
            try:
                connection.request(method, path, body=b"body" if method == "POST" else None, headers={"Host": "localhost"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failures.append((path, answer.status, body[:300], time.monotonic() - started))
                self.last[path] = body.decode()
            except Exception as error:
                self.failures.append((path, repr(error), time.monotonic() - started))
                connection.close()
            self.counts[path] += 1

    def wait_for_more(self, count=5):
        """Waits until each path was asked `count` times more."""
        goal = {path: done + count for path, done in self.counts.items()}
        wait_until(lambda: all(self.counts[path] >= goal[path] for path in goal), 60, "more answers")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()


class Following(unittest.TestCase):
    def setUp(self):
        self.project = Project(
            SHAPE, {"dev": "format = 1\n"}, dev_vars="KEY=12345\n", products=["HelloWorker", "StoreWorker"])
        self.project.write("migrations/0001_first.sql", FIRST)
        self.addCleanup(self.project.__exit__)

    def dev(self, *arguments):
        node = self.project.dev("--no-log-requests", *arguments)
        self.addCleanup(node.__exit__)
        return node.start()

    def text(self, node, path):
        return node.get(path, host="localhost").text

    def pids(self, node):
        return {worker["name"]: worker["pids"] for worker in node.status()["workers"]}

    def wait_for_release(self, node, number):
        wait_until(lambda: node.status()["release"] == f"dev-{number}", 30, f"release {number}:\n{node.log_text()[-2000:]}")

    # MARK: Configuration

    def test_a_variable_changes_under_load_and_no_request_fails(self):
        node = self.dev()
        with Load(node, "/variable/GREETING", "/service/kv-list", "/sleep/20", "/length", "/stream/8") as load:
            before = self.pids(node)
            for number, (old, new) in enumerate([("one", "two"), ("two", "three"), ("three", "four")], 2):
                self.project.edit("wrangler-like.toml", f'"{old}"', f'"{new}"')
                wait_until(lambda: load.last["/variable/GREETING"] == new, 30, new)
                load.wait_for_more()
            after = self.pids(node)
        self.assertEqual(load.failures, [])
        # What did not change stays warm.
        self.assertEqual(before["back"], after["back"])
        self.assertFalse(set(before["front"]) & set(after["front"]))
        wait_until(lambda: not any(map(is_alive, before["front"])), what="the end of the old isolates")

    def test_all_workers_are_replaced_at_once_and_no_request_fails(self):
        # Old events call the old release's services to their end, and those that wait for a place get it.
        node = self.dev()
        with Load(node, "/service/kv-list", "/sleep/30", "/echo", clients=4) as load:
            for cpu in range(10, 14):
                before = self.pids(node)
                self.project.write(
                    "environments/dev.toml",
                    f'format = 1\n[defaults]\nlimits = {{ cpu = "{cpu}s" }}\nisolates = {{ max = 1, concurrency = 1 }}\n')
                wait_until(lambda: self.is_other(before, self.pids(node)), 30, "other isolates")
                load.wait_for_more()
        self.assertEqual(load.failures, [], node.log_text())

    def test_a_single_place_goes_round(self):
        # Each connection is one reactor's: the clients of one must not have it all.
        self.project.write("environments/dev.toml", "format = 1\n[defaults]\nisolates = { max = 1, concurrency = 1 }\n")
        node = self.dev()
        loads = [Load(node, "/sleep/5") for _ in range(12)]
        for load in loads:
            load.__enter__()
        wait_until(lambda: sum(load.counts["/sleep/5"] for load in loads) > 600, 60, "turns")
        counts = sorted(load.counts["/sleep/5"] for load in loads)
        for load in loads:
            load.__exit__()
        # A reactor with few clients serves each of them more often; all get their part.
        self.assertGreater(counts[0] * 15, counts[-1], counts)
        self.assertEqual(sum((load.failures for load in loads), []), [])

    def is_other(self, before, after):
        return all(after[name] and not set(after[name]) & set(before[name]) for name in before)

    def test_probe_22_a_broken_file_leaves_the_old_release(self):
        node = self.dev()
        shape = self.project.read("wrangler-like.toml")
        with Load(node, "/variable/GREETING", "/service/kv-list") as load:
            for broken, message in [
                (shape.replace("[workers.back]", "[workers.back"), "wrangler-like.toml:"),
                (shape.replace("StoreWorker", "StoreWorker\"\nprodukt = \""), 'did you mean "product"?'),
                (shape.replace('worker = "back"', 'worker = "bakc"'), 'did you mean "back"?'),
            ]:
                self.project.write("wrangler-like.toml", broken)
                node.wait_for_log(message)
                node.wait_for_log("the last good release goes on serving")
                load.wait_for_more()
                self.assertEqual(load.last["/variable/GREETING"], "one")
            self.project.write("wrangler-like.toml", shape.replace('"one"', '"fixed"'))
            wait_until(lambda: load.last["/variable/GREETING"] == "fixed", 30, "the fixed release")
        self.assertEqual(load.failures, [])

    def test_workers_and_routes_come_and_go(self):
        node = self.dev()
        shape = self.project.read("wrangler-like.toml")
        before = self.pids(node)
        self.project.write(
            "wrangler-like.toml", shape + '[workers.extra]\nproduct = "HelloWorker"\nroutes = ["extra.localhost/*"]\n')
        wait_until(lambda: node.get("/hello", host="extra.localhost").status == 200, what="the new worker")
        self.assertEqual({**self.pids(node), "extra": None}, {**before, "extra": None})
        self.project.write("wrangler-like.toml", shape)
        wait_until(lambda: node.get("/hello", host="extra.localhost").status == 404, what="its end")
        self.assertEqual(self.pids(node), before)

    # MARK: Secrets and local values

    def test_dev_vars_restart_what_reads_them(self):
        node = self.dev()
        before = self.pids(node)
        self.assertEqual(self.text(node, "/secret-length/KEY"), "5")
        self.project.write(".dev.vars", "KEY=1234567\n")
        wait_until(lambda: self.text(node, "/secret-length/KEY") == "7", what="the new secret")
        after = self.pids(node)
        self.assertEqual(before["back"], after["back"])
        self.assertNotEqual(before["front"], after["front"])
        # They stand over variables, and over each other by worker.
        self.project.write(".dev.vars", "KEY=1234567\nGREETING=local\n")
        wait_until(lambda: self.text(node, "/variable/GREETING") == "local", what="the local value")
        self.project.write(".dev.vars.front", "GREETING=own\n")
        wait_until(lambda: self.text(node, "/variable/GREETING") == "own", what="the worker's own value")
        os.unlink(self.project.path(".dev.vars.front"))
        wait_until(lambda: self.text(node, "/variable/GREETING") == "local", what="the local value again")
        # A secret that is gone: nothing is started without it.
        self.project.write(".dev.vars", "GREETING=local\n")
        node.wait_for_log('worker "front" needs the secret KEY')
        self.assertEqual(self.text(node, "/secret-length/KEY"), "7")
        self.assertNotIn("1234567", node.log_text())

    # MARK: Products

    def test_a_new_executable_is_taken_into_service(self):
        node = self.dev()
        before = self.pids(node)
        self.assertEqual(node.get("/service/hello", host="localhost").status, 404)
        with Load(node, "/variable/GREETING", "/sleep/20", "/length") as load:
            self.project.install("StoreWorker", os.path.join(PRODUCTS, "HelloWorker"))
            wait_until(lambda: self.text(node, "/service/hello") == "hello", 30, "the new executable")
        self.assertEqual(load.failures, [])
        self.assertEqual(self.pids(node)["front"], before["front"])

    def test_an_executable_that_does_not_start_is_not(self):
        node = self.dev()
        with Load(node, "/variable/GREETING", "/service/kv-list") as load:
            before = self.pids(node)
            for source, message in [("/bin/true", 'worker "front" does not start'), ("/etc/passwd", "it is no ELF file")]:
                self.project.install("HelloWorker", source)
                node.wait_for_log(message, 30)
                load.wait_for_more()
            # One that was cut short while it was written.
            with open(os.path.join(PRODUCTS, "HelloWorker"), "rb") as file:
                with open(self.project.path("cut"), "wb") as cut:
                    cut.write(file.read(200_000))
            os.chmod(self.project.path("cut"), 0o755)
            failures = node.log_text().count("goes on serving")
            self.project.install("HelloWorker", self.project.path("cut"))
            wait_until(lambda: node.log_text().count("goes on serving") > failures, 30, "a refusal")
            self.assertEqual(self.pids(node), before)
            self.project.edit("wrangler-like.toml", '"one"', '"two"')
            self.project.install("HelloWorker", os.path.join(PRODUCTS, "HelloWorker"))
            wait_until(lambda: load.last["/variable/GREETING"] == "two", 30, "the good executable")
        self.assertEqual(load.failures, [])

    # MARK: Migrations

    def test_new_migrations_are_applied_and_broken_ones_refused(self):
        node = self.dev()
        self.project.write("migrations/0002_more.sql", "CREATE TABLE more (id INTEGER) STRICT;\nNONSENSE;\n")
        node.wait_for_log("0002_more.sql")
        node.wait_for_log("goes on serving")
        self.assertEqual(node.get("/hello", host="localhost").text, "hello")
        self.project.write("migrations/0002_more.sql", "CREATE TABLE more (id INTEGER) STRICT;\n")
        node.wait_for_log("migration applied  tenant=t database=db file=0002_more.sql")
        self.assertNotIn("0001_first.sql", node.log_text().split("0002_more.sql", 1)[1])

    # MARK: The end

    def test_ctrl_c_ends_in_order_and_the_second_one_at_once(self):
        node = self.dev()
        pids = sum(self.pids(node).values(), [])
        node.process.send_signal(signal.SIGINT)
        self.assertEqual(node.process.wait(10), 0)
        wait_until(lambda: not any(map(is_alive, pids)), what="no orphans")

        node = self.dev()
        with node.connect() as connection:
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
                               b"GET /sleep/20000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while not received.endswith(b"hello"):
                received += connection.recv(4096)
            pids = sum(self.pids(node).values(), [])
            node.process.send_signal(signal.SIGINT)
            node.wait_for_log("draining")
            started = time.monotonic()
            node.process.send_signal(signal.SIGINT)
            self.assertEqual(node.process.wait(5), 130)
            self.assertLess(time.monotonic() - started, 5)
        wait_until(lambda: not any(map(is_alive, pids)), what="no orphans")

    def test_what_can_not_start_at_all_is_told_at_once(self):
        self.project.write("wrangler-like.toml", SHAPE.replace("GREETING", "GREETING ="))
        with self.assertRaises(RuntimeError) as refused:
            self.dev()
        self.assertIn("ended with 2", str(refused.exception))
        self.assertIn("wrangler-like.toml:10:", str(refused.exception))

    def test_the_summary_names_routes_and_bindings(self):
        node = self.dev()
        for line in ("  front\n", "      route    localhost/*\n", "      binding  SERVICE: service back\n",
                     "      binding  KV: KV namespace kv\n", "      binding  DB: D1 database db\n"):
            self.assertIn(line, node.log_text())


if __name__ == "__main__":
    unittest.main()
