"""`edge dev` following changes: what is new comes into service, what is broken doesn't, and no request is lost.

Most of it compiles nothing: with --no-build, executables that somebody else built are the change to follow; `Building`
has a stand-in for the compiler, and `Compiling` the compiler itself.
"""

import html
import http.client
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import unittest
import urllib.parse

from harness import PRODUCTS, ROOT, Node, is_alive, wait_until
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
    seconds = 40

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

    def test_secrets_that_a_worker_prints_are_redacted(self):
        node = self.dev("--log-requests")
        secret = 'correct"horse battery/staple'
        self.project.write(".dev.vars", f"KEY='{secret}'\n")
        wait_until(lambda: self.text(node, "/secret-length/KEY") == str(len(secret)), what="the secret")
        # To its client the worker may say what it likes.
        self.assertEqual(self.text(node, "/leak/KEY/body"), secret)
        for way in ["log", "stderr"]:
            self.assertEqual(self.text(node, f"/leak/KEY/{way}"), "leaked")
        page = node.get("/leak/KEY/error", host="localhost")
        self.assertEqual(page.status, 500)
        self.assertIn("leak in an error: <redacted>.", html.unescape(page.text))
        node.get("/hello?token=" + urllib.parse.quote(secret, safe=""), host="localhost")
        for line in ["leak in a log: <redacted>.", "<<redacted>>", "leak in stderr: <redacted>.",
                     "leak in an error: <redacted>.", "GET /hello?token=<redacted>"]:
            node.wait_for_log(line)
        log = node.log_text()
        for form in [secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe="")]:
            self.assertNotIn(form, log)

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
        # A deployment would refuse it; here it is only said.
        self.project.write("migrations/0003_drop.sql", "ALTER TABLE pairs DROP COLUMN side;\n")
        node.wait_for_log("migration applied  tenant=t database=db file=0003_drop.sql")
        text = node.log_text()
        self.assertIn("db/0003_drop.sql:1:1: error: ", text)
        self.assertIn("a deployment refuses it", text)

    def open_back(self):
        """Lets clients reach the worker of the stores themselves."""
        self.project.edit("wrangler-like.toml", 'product = "StoreWorker"', 'product = "StoreWorker"\nroutes = ["back.localhost/*"]')

    def count(self, node, table):
        """The rows of a table; `None` when there is none."""
        answer = node.get(f"/d1/scalar?sql=SELECT%20count(*)%20FROM%20{table}", host="back.localhost")
        return int(answer.text.rsplit("integer(", 1)[1].split(")")[0]) if answer.status == 200 else None

    def test_the_migrations_of_a_release_are_applied_together_or_not_at_all(self):
        self.open_back()
        node = self.dev()
        os.makedirs(self.project.path("next"))
        self.project.write("next/0001_first.sql", FIRST)
        self.project.write("next/0002_good.sql", "CREATE TABLE good (id INTEGER) STRICT;\n")
        self.project.write("next/0003_bad.sql", "CREATE TABLE good (id INTEGER) STRICT;\n")
        self.project.edit("wrangler-like.toml", 'migrations = "migrations"', 'migrations = "next"')
        node.wait_for_log('migration 0003_bad.sql of database "db" failed')
        self.assertEqual((self.count(node, "pairs"), self.count(node, "good")), (0, None))
        self.assertEqual(self.count(node, "d1_migrations"), 1)
        self.project.write("next/0003_bad.sql", "CREATE TABLE better (id INTEGER) STRICT;\n")
        node.wait_for_log("migration applied  tenant=t database=db file=0003_bad.sql")
        self.assertIn("migration applied  tenant=t database=db file=0002_good.sql", node.log_text())
        self.assertEqual((self.count(node, "good"), self.count(node, "better")), (0, 0))

    def test_an_applied_migration_that_is_edited_is_refused_by_name(self):
        node = self.dev()
        self.project.write("migrations/0002_more.sql", "CREATE TABLE more (id INTEGER) STRICT;\n")
        node.wait_for_log("file=0002_more.sql")
        self.project.write("migrations/0001_first.sql", FIRST + "-- an afterthought\n")
        node.wait_for_log('migration 0001_first.sql of database "db" has been applied, and its text is another one now')
        self.project.write("migrations/0001_first.sql", FIRST)
        self.project.edit("wrangler-like.toml", '"one"', '"two"')
        wait_until(lambda: self.text(node, "/variable/GREETING") == "two", what="the release with the old text")

    def test_another_table_and_pattern_for_migrations(self):
        self.open_back()
        self.project.edit(
            "wrangler-like.toml", 'migrations = "migrations"',
            'migrations = "steps", migrations_table = "done", migrations_pattern = "*/up*"')
        self.project.write("steps/0001_a/up.sql", FIRST)
        self.project.write("steps/0001_a/down.sql", "NONSENSE;\n")
        self.project.write("steps/0002_b/up.sql", "CREATE TABLE b (id INTEGER) STRICT;\n")
        node = self.dev()
        self.assertIn("file=0001_a/up.sql", node.log_text())
        self.assertIn("file=0002_b/up.sql", node.log_text())
        self.assertEqual((self.count(node, "b"), self.count(node, "done"), self.count(node, "d1_migrations")), (0, 2, None))
        # Whatever its name, a new one is followed; what lies beside is none.
        self.project.write("elsewhere/0003_c/up.text", "NONSENSE;\n")
        self.project.write("steps/0003_c/up.text", "CREATE TABLE c (id INTEGER) STRICT;\n")
        node.wait_for_log("file=0003_c/up.text")
        self.assertEqual(self.count(node, "c"), 0)

    # MARK: Queues

    def test_a_queue_has_the_delay_of_its_table(self):
        self.open_back()
        self.project.edit(
            "wrangler-like.toml", 'd1 = [{', 'queues.produce = [{ binding = "QUEUE", queue = "jobs" }]\n'
            'queues.consume = [{ queue = "jobs", timeout = "0s" }]\nd1 = [{')
        shape = self.project.read("wrangler-like.toml")
        self.project.write("wrangler-like.toml", shape + '[queues.jobs]\ndelivery_delay = "12h"\n')
        node = self.dev()

        def send(text):
            self.assertEqual(node.request("POST", "/queue", text, host="back.localhost").status, 200)

        def has_come(text):
            return node.get(f"/kv/seen/jobs/{text}", host="back.localhost").status == 200

        send("late")
        self.project.write("wrangler-like.toml", shape + '[queues.jobs]\ndelivery_delay = "0s"\n')
        node.wait_for_log("release=dev-2")
        send("prompt")
        wait_until(lambda: has_come("prompt"), what="the message without a delay")
        self.assertFalse(has_come("late"))

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
            node.process.send_signal(signal.SIGINT)
            # Had it waited for the request, it would have ended with 0.
            self.assertEqual(node.process.wait(60), 130)
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


STAND_IN = """#!/bin/sh
# Stands for `swift build`: notes its arguments, and installs what the shelf has for the product.
echo "$*" >>"$SHELF/record"
while [ $# -gt 0 ]; do
    case "$1" in
        --product) product=$2 ;;
        --package-path) folder=$2 ;;
    esac
    shift
done
[ -e "$SHELF/$product" ] || { echo "no such product: $product"; exit 1; }
cp "$SHELF/$product" "$folder/.build/debug/.$product.new"
mv "$folder/.build/debug/.$product.new" "$folder/.build/debug/$product"
"""


class Building(unittest.TestCase):
    """`edge dev` asks for a build when it must, and for no other."""

    def setUp(self):
        self.project = Project(SHAPE, {"dev": "format = 1\n"}, dev_vars="KEY=12345\n", products=[])
        self.addCleanup(self.project.__exit__)
        self.project.write("migrations/0001_first.sql", FIRST)
        self.project.write("Sources/Front/main.swift", "// one\n")
        self.project.write("Examples/Extra/main.swift", "// one\n")
        self.shelf = tempfile.mkdtemp(prefix="edge-shelf-")
        self.addCleanup(shutil.rmtree, self.shelf)
        with open(os.path.join(self.shelf, "swift"), "w") as file:
            file.write(STAND_IN)
            os.fchmod(file.fileno(), 0o755)
        self.put("HelloWorker", "HelloWorker")
        self.put("StoreWorker", "StoreWorker")

    def put(self, product, source):
        """What the next build makes of a product; `None`: it fails."""
        path = os.path.join(self.shelf, product)
        if os.path.lexists(path):
            os.unlink(path)
        if source:
            os.symlink(os.path.abspath(os.path.join(PRODUCTS, source)), path)

    def builds(self):
        with open(os.path.join(self.shelf, "record")) as file:
            return [line.split("--product ")[1].split()[0] for line in file]

    def dev(self):
        node = Node("dev", "--no-log-requests", cwd=self.project.directory, state=self.project.path("state/dev"),
                    env={**os.environ, "SHELF": self.shelf, "PATH": self.shelf + ":" + os.environ["PATH"]})
        self.addCleanup(node.__exit__)
        return node.start()

    def text(self, node, path, host="localhost"):
        return node.get(path, host=host).text

    def test_the_first_release_is_built_and_a_changed_source_builds_again(self):
        node = self.dev()
        self.assertEqual(self.builds(), ["StoreWorker", "HelloWorker"])
        with open(os.path.join(self.shelf, "record")) as file:
            self.assertEqual(
                file.readline(), "build --static-swift-stdlib --configuration debug --product StoreWorker --quiet "
                "--package-path .\n")
        # A variable needs no compiler.
        self.project.edit("wrangler-like.toml", '"one"', '"two"')
        wait_until(lambda: self.text(node, "/variable/GREETING") == "two", what="the variable")
        self.assertEqual(len(self.builds()), 2)
        with Load(node, "/variable/GREETING", "/length") as load:
            self.put("StoreWorker", "HelloWorker")
            self.project.write("Sources/Front/main.swift", "// two\n")
            wait_until(lambda: self.text(node, "/service/hello") == "hello", 30, "what was built")
        self.assertEqual(load.failures, [])
        self.assertEqual(len(self.builds()), 4)

    def test_sources_in_other_folders_count_and_other_files_do_not(self):
        self.put("Extra", "HelloWorker")
        self.project.write(
            "wrangler-like.toml",
            SHAPE + '[workers.extra]\nproduct = "Extra"\nroutes = ["extra.localhost/*"]\nkv = [{ binding = "KV", resource = "kv" }]\n')
        node = self.dev()
        self.assertEqual(self.text(node, "/hello", "extra.localhost"), "hello")
        self.put("Extra", "StoreWorker")
        self.project.write("Examples/Extra/README.md", "nothing\n")
        self.project.write("state/notes.swift", "nothing\n")
        self.project.write("Examples/Extra/main.swift", "// two\n")
        wait_until(lambda: self.text(node, "/kv-list", "extra.localhost").startswith("{"), 30, "the example, built anew")
        self.assertEqual(self.builds().count("Extra"), 2)
        # A folder that comes later, with its files.
        self.put("Extra", "HelloWorker")
        self.project.write("More/Extra/main.swift", "// three\n")
        wait_until(lambda: self.text(node, "/hello", "extra.localhost") == "hello", 30, "the folder that came")

    def test_a_worker_whose_product_was_never_built_is_built(self):
        node = self.dev()
        self.put("Extra", "HelloWorker")
        self.project.write("wrangler-like.toml", SHAPE + '[workers.extra]\nproduct = "Extra"\nroutes = ["extra.localhost/*"]\n')
        wait_until(lambda: self.text(node, "/hello", "extra.localhost") == "hello", 30, "the new worker")
        self.assertEqual(self.builds().count("Extra"), 1)

    def test_a_change_of_sources_outlives_what_comes_in_between(self):
        node = self.dev()
        self.put("StoreWorker", "HelloWorker")
        self.project.write("wrangler-like.toml", SHAPE.replace("[workers.back]", "[workers.back"))
        self.project.write("Sources/Front/main.swift", "// two\n")
        node.wait_for_log("the configuration has errors: the last good release goes on serving")
        self.assertEqual(self.text(node, "/variable/GREETING"), "one")
        wait_until(lambda: "main.swift" in node.log_text(), what="the change of the source")
        # Only the configuration changes now, and the build fails first.
        self.put("HelloWorker", None)
        self.project.write("wrangler-like.toml", SHAPE)
        node.wait_for_log("the build failed: the last good release goes on serving")
        self.put("HelloWorker", "HelloWorker")
        self.project.write("wrangler-like.toml", SHAPE.replace('"one"', '"two"'))
        wait_until(lambda: self.text(node, "/variable/GREETING") == "two", 30, "the fixed release")
        self.assertEqual(self.text(node, "/service/hello"), "hello")

    def test_migrations_outside_the_project_are_followed(self):
        with tempfile.TemporaryDirectory() as elsewhere:
            with open(os.path.join(elsewhere, "0001_first.sql"), "w") as file:
                file.write(FIRST)
            self.project.edit("wrangler-like.toml", 'migrations = "migrations"', f'migrations = "../{os.path.basename(elsewhere)}"')
            node = self.dev()
            with open(os.path.join(elsewhere, "0002_more.sql"), "w") as file:
                file.write("CREATE TABLE more (id INTEGER) STRICT;\n")
            node.wait_for_log("database=db file=0002_more.sql")
            self.assertEqual(len(self.builds()), 2)


class Compiling(unittest.TestCase):
    """The whole way: a copy of this package, `edge dev`, the compiler, a change of a source."""

    seconds = 99

    def test_a_changed_source_is_compiled_and_takes_over(self):
        self.assertIsNotNone(shutil.which("swift"))
        project = Project(
            'format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n[workers.hello]\nproduct = "HelloWorker"\n'
            'routes = ["{domain}/*"]\n', products=[])
        self.addCleanup(project.__exit__)
        os.rmdir(project.path(".build/debug"))
        shutil.copy(os.path.join(ROOT, "Package.swift"), project.directory)
        for name in ("Sources", "Tests", "Examples", "Benchmarks"):
            shutil.copytree(os.path.join(ROOT, name), project.path(name))
        node = Node("dev", cwd=project.directory, state=project.path("state/dev"), deadline=900)
        self.addCleanup(node.__exit__)
        node.start()
        self.assertEqual(node.get("/hello", host="localhost").text, "hello")
        with Load(node, "/json") as load:
            project.edit("Tests/Support/HelloWorker/HelloWorker.swift", '.text("hello")', '.text("hello again")')
            wait_until(lambda: node.get("/hello", host="localhost").text == "hello again", 600, node.log_text)
        self.assertEqual(load.failures, [])
        failures = node.log_text().count("goes on serving")
        project.edit("Tests/Support/HelloWorker/HelloWorker.swift", '.text("hello again")', '.text("hello again"')
        wait_until(lambda: node.log_text().count("goes on serving") > failures, 600, node.log_text)
        self.assertIn("HelloWorker.swift", node.log_text())
        self.assertEqual(node.get("/hello", host="localhost").text, "hello again")


if __name__ == "__main__":
    unittest.main()
