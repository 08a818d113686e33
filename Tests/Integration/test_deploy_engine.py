"""Deployments over the death of their node, under load, and past what they need. The machine's own table of failures is tested
on the virtual clock (DeploymentMachineTests)."""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

from harness import ROOT, Node, edge, is_alive, product, wait_until
from projects import Project

HOST = "staging.example"
SHAPE = '''format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.hello]
product = "HelloWorker"
routes = ["staging.example/*"]
vars = { X = "one" }
smoke = [{ get = "/hello", status = 200 }]
'''
DEPLOY = '''
[deploy]
steps = [50, 100]
bake = "0s"
monitor = "0s"
smoke = "optional"
no_traffic = "promote"
'''


def environment(deploy=DEPLOY, keep_warm="2s"):
    return {"staging": f'format = 1\ndomain = "{HOST}"\nlisten = ["127.0.0.1:0"]\nkeep_warm = "{keep_warm}"\n{deploy}'}


def states():
    """All states, from the source: one that is added is tried as well."""
    with open(os.path.join(ROOT, "Sources/Deploy/Releases/Deployments/DeploymentState.swift")) as file:
        found = re.findall(r'^    case (\w+)(?: = "([\w-]+)")?$', file.read(), re.M)
    return [raw or name for name, raw in found]


class Staging:
    """A node of staging that may be made to die. A context manager."""

    def __init__(self, shape=SHAPE, environments=None):
        self.project = Project(shape, environments or environment(), products=["HelloWorker"])
        self.state = tempfile.mkdtemp(prefix="edge-engine-")
        self.key = os.path.join(self.state + "-key", "key")
        self.node = None

    def start(self, fault=None):
        env = dict(os.environ)
        env.pop("EDGE_FAULT", None)
        if fault:
            env["EDGE_FAULT"] = fault
        self.node = Node(
            "serve", "--environment", "staging", "--products", self.project.path(".build/debug"), "--key-file", self.key,
            cwd=self.project.directory, state=self.state, env=env)
        self.node.__enter__()

    def end(self):
        if self.node:
            self.node.__exit__(None, None, None)
            self.node = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.end()
        for folder in (self.state, os.path.dirname(self.key)):
            shutil.rmtree(folder, ignore_errors=True)
        self.project.__exit__()

    def set(self, value):
        text = self.project.read("wrangler-like.toml")
        self.project.write("wrangler-like.toml", re.sub(r'X = "[^"]*"', f'X = "{value}"', text))

    def edge(self, *words):
        return edge(*words, "--state", self.state, cwd=self.project.directory)

    def deploy(self, *words):
        return self.edge("deploy", "--environment", "staging", "--products", self.project.path(".build/debug"), *words)

    def served(self):
        return self.node.get("/variable/X", host=HOST).text

    def rows(self, sql):
        connection = sqlite3.connect(os.path.join(self.state, "control.sqlite"))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def newest(self):
        return self.rows("SELECT number, state, reason FROM release_deployments ORDER BY number DESC LIMIT 1")[0]

    def open_deployments(self):
        return self.rows("SELECT number FROM release_deployments WHERE state NOT IN ('retired', 'rolled-back', 'refused')")

    def wait_for_end(self):
        """Until nothing is in progress."""
        wait_until(lambda: not self.rows("SELECT 1 FROM deployment_locks"), 90, "the end of the deployment")


PREVIOUS = ["created", "validated", "prechecked", "backed-up", "migrated"]
RESUMED = ["starting", "healthy", "smoke-tested", "shifting"]
NEW = ["active", "monitoring", "draining", "retired"]
# Of several nodes: test_nodes.
COORDINATED = ["prepared"]


class Death(unittest.TestCase):
    """kill -9 at each transition, which the node does to itself."""

    seconds = 400

    def test_no_state_is_left_out(self):
        self.assertEqual(sorted(states()), sorted(PREVIOUS + RESUMED + NEW + COORDINATED + ["rolled-back", "refused"]))
        self.assertGreater(len(states()), 12)

    def die(self, staging, state, change, words=()):
        """Deploys what `change` has made of the project to a node that dies in `state`."""
        staging.end()
        staging.start(fault=f"deployment:{state}")
        # Until its first deployment, a node starts with what the files say.
        change()
        pids = set(staging.node.isolate_pids())
        process = subprocess.Popen(
            [product("edge"), "deploy", "--environment", "staging", "--products", staging.project.path(".build/debug"),
             "--state", staging.state, *words], cwd=staging.project.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            staging.node.process.wait(timeout=120)
        finally:
            process.kill()
            process.communicate()
        self.assertEqual(staging.node.process.returncode, -signal.SIGKILL)
        for pid in pids:
            wait_until(lambda: not is_alive(pid), 30, f"the end of isolate {pid}")
        self.assertEqual(staging.newest()[1], state)
        staging.end()

    def test_probe_11_kill_in_each_state(self):
        with Staging() as staging:
            # From here on, a node starts with what was deployed.
            staging.set("first")
            self.assertEqual(staging.deploy().returncode, 0)
            serving = staging.served()
            for number, state in enumerate(PREVIOUS + RESUMED + NEW):
                with self.subTest(state=state):
                    value = f"v{number}"
                    # Or the one before would end in the state that kills.
                    wait_until(lambda: not staging.open_deployments(), 60, "the end of all deployments")
                    self.die(staging, state, lambda: staging.set(value))
                    staging.start()
                    if state in PREVIOUS:
                        end = "rolled-back" if state == "migrated" else "refused"
                        self.assertEqual(staging.newest()[1], end)
                        self.assertIn("interrupted", staging.newest()[2])
                        self.assertEqual(staging.served(), serving)
                        self.assertEqual(staging.deploy().returncode, 0)
                    elif state in NEW:
                        self.assertEqual(staging.served(), value)
                    else:
                        # Goes on by itself.
                        self.assertIn(staging.served(), (serving, value))
                    staging.wait_for_end()
                    self.assertEqual(staging.served(), value, staging.newest())
                    serving = value

    def test_probe_11_kill_at_an_end(self):
        with Staging() as staging:
            serving = staging.served()
            # From here on, a node starts with what was deployed.
            staging.set("first")
            self.assertEqual(staging.deploy().returncode, 0)
            serving = staging.served()

            def crash():
                staging.set("crashes")
                shutil.copy("/bin/false", staging.project.path("crasher"))
                staging.project.install("HelloWorker", staging.project.path("crasher"))

            self.die(staging, "rolled-back", crash)
            staging.start()
            self.assertEqual(staging.served(), serving)
            self.assertEqual(staging.newest()[1], "rolled-back")
            staging.project.install("HelloWorker", product("HelloWorker"))

            def forget_tests():
                staging.project.edit("environments/staging.toml", 'smoke = "optional"', 'smoke = "required"')
                staging.project.edit("wrangler-like.toml", 'smoke = [{ get = "/hello", status = 200 }]\n', "")

            self.die(staging, "refused", forget_tests)
            staging.start()
            self.assertEqual(staging.served(), serving)
            staging.project.edit("environments/staging.toml", 'smoke = "required"', 'smoke = "optional"')
            staging.set("fine")
            done = staging.deploy()
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(staging.served(), "fine")


class RandomDeath(unittest.TestCase):
    seconds = 150
    # More of them make a soak: `make soak`.
    rounds = int(os.environ.get("EDGE_SOAK") or 10)

    def test_probe_11_kill_at_random_points(self):
        seed = int(os.environ.get("EDGE_SEED") or random.randrange(1 << 32))
        chance = random.Random(seed)
        with Staging() as staging:
            staging.set("first")
            self.assertEqual(staging.deploy().returncode, 0)
            serving = "first"
            for number in range(self.rounds):
                value = f"round {number}"
                with self.subTest(seed=seed, round=number):
                    staging.set(value)
                    process = subprocess.Popen(
                        [product("edge"), "deploy", "--environment", "staging", "--products",
                         staging.project.path(".build/debug"), "--state", staging.state], cwd=staging.project.directory,
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    pids = set(staging.node.isolate_pids())
                    # Not a measure of anything: wherever it is by then, it is killed there.
                    time.sleep(chance.uniform(0, 5))
                    staging.node.process.kill()
                    staging.node.process.wait()
                    process.kill()
                    process.wait()
                    for pid in pids:
                        wait_until(lambda: not is_alive(pid), 30, f"the end of isolate {pid}")
                    staging.end()
                    staging.start()
                    self.assertIn(staging.served(), (serving, value))
                    staging.wait_for_end()
                    if staging.served() != value:
                        self.assertEqual(staging.served(), serving)
                        done = staging.deploy()
                        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertEqual(staging.served(), value)
                    serving = value


class Cutover(unittest.TestCase):
    seconds = 120

    def test_probe_6_a_version_that_crashes_leaves_no_processes(self):
        with Staging() as staging:
            before = staging.served()
            pids = set(staging.node.isolate_pids())
            shutil.copy("/bin/false", staging.project.path("crasher"))
            staging.project.install("HelloWorker", staging.project.path("crasher"))
            done = staging.deploy()
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertEqual(staging.newest()[1], "rolled-back")
            self.assertEqual(staging.served(), before)
            wait_until(lambda: set(staging.node.isolate_pids()) <= pids, 30, "the end of the slot")

    def test_probe_7_a_failed_smoke_test_gets_no_traffic(self):
        with Staging() as staging:
            before = staging.served()
            staging.set("never seen")
            staging.project.edit("wrangler-like.toml", "status = 200", "status = 418")
            seen = set()
            stop = threading.Event()

            def ask():
                while not stop.is_set():
                    seen.add(staging.served())

            asking = threading.Thread(target=ask)
            asking.start()
            try:
                done = staging.deploy()
            finally:
                stop.set()
                asking.join()
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn("418", done.stdout + done.stderr)
            self.assertEqual(seen, {before})
            self.assertEqual(staging.rows("SELECT count(*) FROM deployment_events WHERE state = 'shifting'"), [(0,)])

    def test_probe_17_isolates_of_the_release_before_are_still_there(self):
        with Staging(environments=environment(keep_warm="10m")) as staging:
            old = set(staging.node.isolate_pids())
            staging.set("two")
            self.assertEqual(staging.deploy().returncode, 0)
            self.assertEqual(staging.served(), "two")
            self.assertTrue(old and all(is_alive(pid) for pid in old))
            done = staging.edge("rollback", "--yes")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(staging.served(), "one")
            self.assertTrue(all(is_alive(pid) for pid in old))
            self.assertEqual(
                staging.rows("SELECT triggered_by, state FROM release_deployments ORDER BY number DESC LIMIT 1")[0][0],
                "rollback")

    def test_changes_of_workers_are_refused_meanwhile(self):
        with Staging() as staging:
            staging.set("two")
            done = staging.deploy("--pause-at", "50")
            self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
            refused = staging.node.request(
                "PUT", "/client/v4/accounts/t/workers/scripts/hello/schedules", body=b'[{"cron": "0 0 * * *"}]',
                headers={"authorization": f"Bearer {staging.node.operator_token()}"}, port=staging.node.control_port)
            self.assertEqual(refused.status, 409, refused.text)
            self.assertIn("in progress", refused.text)
            self.assertEqual(staging.edge("deploy", "abort").returncode, 0)
            wait_until(lambda: staging.newest()[1] == "rolled-back", 30, "the end")

    def test_probe_18_no_way_back_to_a_bucket_that_is_gone(self):
        shape = SHAPE.replace("smoke =", 'r2 = [{ binding = "FILES", resource = "files" }]\nsmoke =')
        with Staging(shape=shape) as staging:
            staging.project.edit("wrangler-like.toml", 'r2 = [{ binding = "FILES", resource = "files" }]\n', "")
            self.assertEqual(staging.deploy().returncode, 0)
            staging.wait_for_end()
            self.assertEqual(staging.edge("r2", "bucket", "delete", "files", "--yes").returncode, 0)
            done = staging.edge("rollback", "--yes")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn('bucket "files"', done.stdout + done.stderr)
            self.assertIn("FILES", done.stdout + done.stderr)
