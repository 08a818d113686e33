"""Histories of counters, registers and accounts while isolates and the node die (spec: durable-objects, sections 2 and 6)."""

import http.client
import json
import os
import random
import signal
import threading
import time
import unittest

from harness import wait_until
from linearizability import Operation, counter, is_linearizable, register
from objects import Failed, Objects
from rest import Rest
from test_object_releases import Staging, environment

# The long variant asks for more.
CUTOVERS = int(os.environ.get("EDGE_HISTORY_CUTOVERS", "3"))


class Checker(unittest.TestCase):
    """The checker itself: what it must let pass, and what not."""

    def test_counters(self):
        good = [Operation(0, 3, "add", 1, 2), Operation(1, 2, "add", 1, 1), Operation(4, 5, "read", None, 2)]
        self.assertTrue(is_linearizable(good, counter, 0))
        lost = [Operation(0, 3, "add", 1, 1), Operation(1, 2, "add", 1, 1)]
        self.assertFalse(is_linearizable(lost, counter, 0))
        stale = [Operation(0, 1, "add", 1, 1), Operation(2, 3, "read", None, 0)]
        self.assertFalse(is_linearizable(stale, counter, 0))
        unknown = [Operation(0, None, "add", 1), Operation(1, 2, "read", None, 0), Operation(3, 4, "read", None, 1)]
        self.assertTrue(is_linearizable(unknown, counter, 0))
        self.assertFalse(is_linearizable(unknown + [Operation(5, 6, "read", None, 0)], counter, 0))

    def test_registers(self):
        self.assertTrue(is_linearizable(
            [Operation(0, 5, "set", 1), Operation(1, 2, "read", None, 0), Operation(3, 4, "read", None, 1)], register, 0))
        self.assertFalse(is_linearizable(
            [Operation(0, 5, "set", 1), Operation(1, 2, "read", None, 1), Operation(3, 4, "read", None, 0)], register, 0))


class Recorder:
    """Clients that note what they asked and what they saw."""

    def __init__(self, objects):
        self.objects = objects
        self.history = []
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.threads = []

    def do(self, kind, path, argument=None, name="linear"):
        called = time.monotonic()
        try:
            # What the node may try again by itself is no operation of ours.
            text = self.objects.account(name, path, timeout=30, method="GET" if kind == "read" else "POST")
            operation = Operation(called, time.monotonic(), kind, argument, int(text) if kind != "set" else None)
        except ConnectionRefusedError:
            # Nobody is there: it was not done.
            threading.Event().wait(0.05)
            return
        except (Failed, OSError, http.client.HTTPException):
            # It may have been done, and may be yet: an answer that says no more than that the connection was lost.
            operation = Operation(called, None, kind, argument)
            if kind == "read":
                return
        with self.lock:
            self.history.append(operation)

    def run(self, count, body):
        def client(number):
            while not self.stop.is_set():
                body(self, number)

        self.threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return self.history


def counting(recorder, number, name="linear"):
    if random.random() < 0.7:
        recorder.do("add", "add?n=1", 1, name)
    else:
        recorder.do("read", "read", name=name)


def setting(recorder, number, name="linear"):
    if random.random() < 0.5:
        value = random.randrange(1 << 30)
        recorder.do("set", f"set?n={value}", value, name)
    else:
        recorder.do("read", "read", name=name)


class Deployed(Staging):
    """A node whose releases change, with the objects of ObjectWorker. A context manager."""

    @staticmethod
    def shape(release):
        return f'''format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.objects]
product = "ObjectWorker"
routes = ["objects.example/*"]
vars = {{ RELEASE = "{release}" }}
durable_objects = [{{ binding = "ACCOUNTS", class = "Account" }}]
migrations = [{{ tag = "v1", new_sqlite_classes = ["Account"] }}]
'''

    def __init__(self):
        super().__init__(self.shape("first"), environment(), products=["ObjectWorker"])

    def account_text(self, path, timeout=60, method="GET"):
        answer = self.node.request(method, path, headers={"Host": "objects.example"}, timeout=timeout)
        if answer.status != 200:
            raise Failed(answer)
        return answer.text

    def account(self, name, path, **keywords):
        return self.account_text(f"/name/ACCOUNTS/{name}/{path}", **keywords)


class Histories(unittest.TestCase):
    seconds = 60

    def kill_isolates(self, objects, count):
        for _ in range(count):
            threading.Event().wait(random.uniform(0.1, 0.4))
            for pid in objects.isolate_pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def test_a_counter_whose_isolates_die(self):
        with Objects() as objects:
            recorder = Recorder(objects)
            recorder.run(4, counting)
            self.kill_isolates(objects, 8)
            threading.Event().wait(1)
            history = recorder.end()
            self.assertGreater(sum(1 for operation in history if operation.answered is not None), 20)
            self.assertTrue(is_linearizable(history, counter, 0))

    def test_a_register_whose_isolates_die(self):
        with Objects() as objects:
            recorder = Recorder(objects)
            recorder.run(4, setting)
            self.kill_isolates(objects, 8)
            threading.Event().wait(1)
            self.assertTrue(is_linearizable(recorder.end(), register, 0))

    def test_a_counter_that_sleeps_again_and_again(self):
        with Objects(hibernate="50ms", evict="50ms") as objects:
            recorder = Recorder(objects)

            def seldom(recorder, number):
                threading.Event().wait(random.uniform(0, 0.3))
                counting(recorder, number)

            recorder.run(3, seldom)
            threading.Event().wait(8)
            self.assertTrue(is_linearizable(recorder.end(), counter, 0))

    def test_a_counter_whose_node_dies(self):
        with Objects() as objects:
            recorder = Recorder(objects)
            recorder.run(3, counting)
            for _ in range(2):
                threading.Event().wait(1)
                objects.node.kill()
                objects.node.start()
            threading.Event().wait(1)
            self.assertTrue(is_linearizable(recorder.end(), counter, 0))

    def test_a_counter_and_a_register_over_cutovers_and_evictions(self):
        with Deployed() as staging:
            recorders = {name: Recorder(staging) for name in ("counter", "register")}
            ids = [json.loads(staging.account_text(f"/ids/ACCOUNTS/{name}"))["first"] for name in recorders]

            def count(recorder, number):
                counting(recorder, number, "counter")
                threading.Event().wait(random.uniform(0, 0.01))

            def set(recorder, number):
                setting(recorder, number, "register")
                threading.Event().wait(random.uniform(0, 0.01))

            recorders["counter"].run(3, count)
            recorders["register"].run(3, set)
            try:
                rest = Rest(staging.node, "t")
                namespace = next(item["id"] for item in rest.result("GET", "workers/durable_objects/namespaces")
                                 if item["class"] == "Account")
                evicted = 0
                for round in range(CUTOVERS):
                    result = staging.deploy(Deployed.shape(f"r{round}"))
                    self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                    for _ in range(3):
                        for identity in ids:
                            path = f"edge/durable_objects/namespaces/{namespace}/objects/{identity}/evict"
                            evicted += rest.result("POST", path)["evicted"]
                            threading.Event().wait(random.uniform(0, 0.1))
            finally:
                histories = {name: recorder.end() for name, recorder in recorders.items()}
            self.assertGreater(evicted, 0)
            self.assertGreater(min(len(history) for history in histories.values()), 50 * CUTOVERS)
            # Nothing of what was asked is unanswered: a cutover drops nothing.
            lost = [operation for history in histories.values() for operation in history if operation.answered is None]
            self.assertEqual(lost, [])
            self.assertTrue(is_linearizable(histories["counter"], counter, 0))
            self.assertTrue(is_linearizable(histories["register"], register, 0))

    def test_money_is_neither_made_nor_lost(self):
        """Transfers between accounts: each account's own history holds, and without failures the sum does, too."""
        with Objects() as objects:
            names = [f"bank{number}" for number in range(4)]
            threads = []

            def transfer(number):
                for _ in range(25):
                    source, target = random.sample(names, 2)
                    objects.get(f"/transfer/{source}/{target}/{random.randrange(1, 50)}")

            for number in range(4):
                threads.append(threading.Thread(target=transfer, args=(number,)))
                threads[-1].start()
            for thread in threads:
                thread.join()
            self.assertEqual(sum(int(objects.account(name, "read")) for name in names), 0)

    def logs(self, objects):
        """The logs of objects' files, with their sizes."""
        found = {}
        for directory, _, names in os.walk(objects.project.path("state")):
            for name in names:
                if name.endswith(".sqlite-wal"):
                    path = os.path.join(directory, name)
                    found[path] = os.path.getsize(path)
        return found

    def test_a_loss_of_power_takes_nothing_that_was_acknowledged_unless_the_disk_was_never_asked(self):
        for skips in (False, True):
            with self.subTest(skips=skips), Objects() as objects:
                recorder = Recorder(objects)
                recorder.do("add", "add?n=1", 1)
                if skips:
                    objects.account("linear", "unsynced")
                # What is surely on the disk now; with the sync skipped, nothing of what follows is.
                synced = self.logs(objects)
                for _ in range(5):
                    recorder.do("add", "add?n=1", 1)
                if not skips:
                    synced = self.logs(objects)
                objects.node.kill()
                self.assertTrue(synced)
                for path, size in synced.items():
                    with open(path, "r+b") as file:
                        file.truncate(size)
                objects.node.start()
                recorder.do("read", "read")
                self.assertEqual(is_linearizable(recorder.end(), counter, 0), not skips)

    def test_without_the_gate_the_checker_says_so(self):
        with Objects() as objects:
            recorder = Recorder(objects)
            recorder.run(4, lambda recorder, number: recorder.do("add", "broken-add", 1))
            wait_until(lambda: len(recorder.history) > 60, 60)
            self.assertFalse(is_linearizable(recorder.end(), counter, 0))
