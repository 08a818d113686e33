"""Rehearsals: a release on a copy of a node's state, compared with the one that serves. Nothing touches live data."""

import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time
import unittest

from harness import PRODUCTS, Node, edge, is_alive, product, wait_until
from prober import MIGRATION
from projects import Project

HOST = "staging.example"
# Two workers, so that a request of one to the other can be told from one of a client.
SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.front]
product = "CutoverWorker"
routes = ["staging.example/*"]
services = [{ binding = "BACK", worker = "back" }]
d1 = [{ binding = "DB", resource = "notes", migrations = "migrations/notes" }]
r2 = [{ binding = "FILES", resource = "files" }]
kv = [{ binding = "KV", resource = "values" }]
vars = { RELEASE = "1" }
smoke = [{ get = "/self", status = 200 }]
[workers.back]
product = "CutoverWorker"
d1 = [{ binding = "DB", resource = "notes" }]
vars = { RELEASE = "1" }
"""
STAGING = f"""format = 1
domain = "{HOST}"
listen = ["127.0.0.1:0"]
keep_warm = "1s"
[deploy]
steps = [100]
bake = "0s"
monitor = "0s"
no_traffic = "promote"
[hooks]
confirm_rollout = "exit 1"
"""


class Staging:
    """A node of staging with some data. A context manager."""

    def __init__(self):
        self.project = Project(SHAPE, {"staging": STAGING.replace("exit 1", "true")})
        self.project.write("migrations/notes/0001_notes.sql", MIGRATION)
        self.node = Node("serve", "--environment", "staging", "--products", PRODUCTS, cwd=self.project.directory,
                         state=self.project.path("state/staging"))

    def __enter__(self):
        try:
            self.node.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.node.__exit__(None, None, None)
        self.project.__exit__()

    def edge(self, *words):
        return edge(*words, "--environment", "staging", cwd=self.project.directory)

    def command(self, *words):
        return [product("edge"), "rehearse", "--environment", "staging", "--products", PRODUCTS, *words]

    def rehearse(self, *words):
        return self.edge("rehearse", "--products", PRODUCTS, *words)

    def set(self, release):
        text = self.project.read("wrangler-like.toml")
        self.project.write("wrangler-like.toml", re.sub(r'RELEASE = "[^"]*"', f'RELEASE = "{release}"', text))

    def api(self, path, method="GET"):
        return self.node.request(
            method, f"/client/v4/accounts/t{path}", port=self.node.control_port,
            headers={"authorization": f"Bearer {self.node.operator_token()}"})

    def digest(self):
        """Of all that the tenant has: equal stores make equal archives."""
        answer = self.api("/state/export")
        assert answer.status == 200, answer.text
        return hashlib.sha256(answer.body).hexdigest()

    def files(self):
        """The immutable files that a copy shares, with what each holds."""
        found = {}
        for folder in ["artifacts", "bundles", "assets", "t/r2"]:
            for place, _, names in os.walk(os.path.join(self.node.state, folder)):
                for name in names:
                    if name.endswith(".mdb"):
                        continue
                    with open(os.path.join(place, name), "rb") as file:
                        found[os.path.join(place, name)] = hashlib.sha256(file.read()).hexdigest()
        return found

    def copies(self):
        work = os.path.join(self.node.state, ".work")
        return [name for name in os.listdir(work) if name.startswith("rehearsal-")] if os.path.isdir(work) else []

    def rehearsing(self):
        """The processes of nodes that rehearse with this state."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"rehearsal-node" in words and any(self.project.directory.encode() in word for word in words):
                found.append(int(pid))
        return found


def text_of(done):
    return f"{done.returncode}\n{done.stdout}\n{done.stderr}"


class Rehearsing(unittest.TestCase):
    seconds = 60

    def test_nothing_touches_live_data(self):
        with Staging() as staging:
            node, project = staging.node, staging.project
            staging.set("one")
            self.assertEqual(staging.edge("deploy", "--products", PRODUCTS, "-m", "first").returncode, 0)
            wait_until(lambda: staging.api("/edge/deployments").json()["result"][0]["finished_on"], 60, "the end")
            for number in range(20):
                done = node.request("POST", f"/append/n{number}", body=b"x" * number, host=HOST)
                self.assertLess(done.status, 500, done.text)
            project.write("object.txt", "an object")
            done = edge("r2", "object", "put", "files/object.txt", "--file", project.path("object.txt"), "--state", node.state)
            self.assertEqual(done.returncode, 0, text_of(done))
            # What the release before answers, and the next one answers in another way.
            project.write("requests.jsonl", "\n".join(json.dumps(request) for request in [
                {"method": "GET", "url": f"http://{HOST}/who"},
                {"method": "POST", "url": f"http://{HOST}/append/replayed", "body": "hello"},
            ]))
            staging.set("2")
            project.write("environments/staging.toml", STAGING)  # Its hook says no: a rehearsal asks nobody.
            project.write("migrations/notes/0002_more.sql", "ALTER TABLE notes ADD COLUMN more TEXT;\n")
            before, files = staging.digest(), staging.files()
            self.assertTrue(files)
            done = staging.rehearse("--requests", project.path("requests.jsonl"), "--unsafe", "--json")
            self.assertEqual(done.returncode, 1, text_of(done))
            report = json.loads(done.stdout)
            self.assertEqual(report["deployment"]["state"], "smoke-tested")
            self.assertEqual(report["skipped"], 0)
            self.assertEqual(report["different"], 2)
            self.assertEqual(report["differences"][0], {
                "request": f"GET {HOST}/who", "differences": ['/back: "one" → "2"', '/front: "one" → "2"']})
            self.assertEqual(staging.digest(), before)
            self.assertEqual(staging.files(), files)
            self.assertEqual(len(staging.api("/edge/deployments").json()["result"]), 2)
            wait_until(lambda: not staging.copies(), 30, staging.copies)
            self.assertEqual(staging.rehearsing(), [])
            # Without being asked to, only safe ones are sent.
            done = staging.rehearse("--requests", project.path("requests.jsonl"))
            self.assertEqual(done.returncode, 1, text_of(done))
            self.assertIn("1 not sent", done.stdout)
            self.assertIn("migrated notes: 0002_more.sql", done.stdout)
            self.assertEqual(staging.digest(), before)

    def test_a_release_that_answers_alike_is_said_to(self):
        with Staging() as staging:
            staging.project.write("requests.jsonl", json.dumps({"url": f"http://{HOST}/who"}) + "\n")
            staging.project.edit("wrangler-like.toml", 'vars = { RELEASE = "1" }\nsmoke',
                                 'vars = { RELEASE = "1", OTHER = "y" }\nsmoke')
            done = staging.rehearse("--requests", staging.project.path("requests.jsonl"))
            self.assertEqual(done.returncode, 0, text_of(done))
            self.assertIn("1 request: 1 equal, 0 different", done.stdout)

    def test_contract_migrations_run_and_the_new_release_lives_with_them(self):
        with Staging() as staging:
            project = staging.project
            project.write("requests.jsonl", "\n".join(
                json.dumps({"url": f"http://{HOST}{path}"}) for path in ("/who", "/ids/a")))
            project.edit("wrangler-like.toml", 'vars = { RELEASE = "1" }\nsmoke',
                         'vars = { RELEASE = "1", OTHER = "y" }\nsmoke')
            before = staging.digest()
            migration = "migrations/notes/0002_contract.sql"
            project.write(migration, "-- edge: contract\nDROP TABLE nothing;\n")
            done = staging.rehearse("--contract")
            self.assertEqual(done.returncode, 1, text_of(done))
            self.assertIn("0002_contract.sql", done.stderr)
            self.assertIn("nothing", done.stderr)
            # It still reads what is taken away.
            project.write(migration, "-- edge: contract\nDROP INDEX by_kind;\nALTER TABLE notes DROP COLUMN kind;\n")
            done = staging.rehearse("--contract", "--requests", project.path("requests.jsonl"))
            self.assertEqual(done.returncode, 1, text_of(done))
            self.assertIn("contracted notes: 0002_contract.sql", done.stdout)
            self.assertIn("2 requests: 2 equal, 0 different, 1 different once contracted", done.stdout)
            self.assertRegex(done.stdout, rf"GET {HOST}/ids/a\n +once contracted: status 200 → 500\n")
            self.assertEqual(staging.digest(), before)

    def test_what_fails_on_the_copy_says_why(self):
        with Staging() as staging:
            staging.set("2")
            staging.project.write("migrations/notes/0002_broken.sql", "ALTER TABLE nothing ADD COLUMN more TEXT;\n")
            before = staging.digest()
            done = staging.rehearse()
            self.assertEqual(done.returncode, 1, text_of(done))
            self.assertIn("0002_broken.sql", done.stdout + done.stderr)
            os.unlink(staging.project.path("migrations/notes/0002_broken.sql"))
            staging.project.write("migrations/notes/0002_drop.sql", "ALTER TABLE notes DROP COLUMN kind;\n")
            done = staging.rehearse()
            self.assertEqual(done.returncode, 2, text_of(done))
            self.assertIn("0002_drop.sql", done.stdout + done.stderr)
            self.assertEqual(staging.digest(), before)
            done = staging.rehearse("--requests", staging.project.path("nowhere"))
            self.assertEqual(done.returncode, 1, text_of(done))

    def begin(self, staging):
        """A rehearsal that has many requests to send."""
        staging.set("2")
        with open(staging.project.path("requests.jsonl"), "w") as file:
            for _ in range(100_000):
                file.write(json.dumps({"url": f"http://{HOST}/who"}) + "\n")
        process = subprocess.Popen(
            staging.command("--requests", staging.project.path("requests.jsonl")), cwd=staging.project.directory,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(staging.rehearsing, 60, "the copy's node")
            self.assertEqual(len(staging.copies()), 1)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return process

    def test_ctrl_c_and_death_leave_nothing_behind(self):
        with Staging() as staging:
            for number in (signal.SIGINT, signal.SIGKILL):
                with self.subTest(signal=number):
                    process = self.begin(staging)
                    pids = staging.rehearsing()
                    process.send_signal(number)
                    output, errors = process.communicate(timeout=60)
                    self.assertEqual(process.returncode, 130 if number == signal.SIGINT else -9, output + errors)
                    wait_until(lambda: not any(is_alive(pid) for pid in pids), 30, "the end of the copy's node")
                    wait_until(lambda: not staging.copies(), 30, staging.copies)
            self.assertEqual(staging.node.get("/self", host=HOST).status, 200)

    def test_a_recording_has_what_clients_ask_for(self):
        with Staging() as staging:
            path = staging.project.path("recorded.jsonl")
            process = subprocess.Popen(
                [product("edge"), "record", path, "--environment", "staging", "--max", "4"], cwd=staging.project.directory,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                stop = threading.Event()

                def ask():
                    number = 0
                    while not stop.is_set():
                        number += 1
                        staging.node.request("POST", "/append/r", body=b"x", host=HOST)
                        # It passes through both workers.
                        staging.node.get(f"/who?number={number}", host=HOST, headers={
                            "Authorization": "Bearer secret", "X-Own": "yes"})
                        time.sleep(0.01)

                asking = threading.Thread(target=ask)
                asking.start()
                try:
                    output, errors = process.communicate(timeout=60)
                finally:
                    stop.set()
                    asking.join()
            finally:
                process.kill()
            self.assertEqual(process.returncode, 0, output + errors)
            with open(path) as file:
                requests = [json.loads(line) for line in file]
            self.assertEqual(len(requests), 4)
            numbers = [int(request["url"].rsplit("=", 1)[1]) for request in requests]
            self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 4)))
            for request in requests:
                self.assertEqual(request["method"], "GET")
                self.assertEqual(request["headers"]["x-own"], "yes")
                self.assertNotIn("secret", json.dumps(request))
                self.assertNotIn("cf-connecting-ip", request["headers"])
            done = staging.rehearse("--requests", path)
            self.assertIn("no changes", done.stdout, text_of(done))
            staging.set("2")
            done = staging.rehearse("--requests", path)
            self.assertEqual(done.returncode, 1, text_of(done))
            self.assertIn("4 requests: 0 equal, 4 different", done.stdout)

    def test_a_rehearsal_waits_for_no_deployment(self):
        with Staging() as staging:
            staging.set("2")
            done = staging.edge("deploy", "--products", PRODUCTS, "--pause-at", "100")
            self.assertEqual(done.returncode, 3, text_of(done))
            staging.set("3")
            done = staging.rehearse()
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("is in progress", done.stderr)
            self.assertEqual(staging.copies(), [])


if __name__ == "__main__":
    unittest.main()
