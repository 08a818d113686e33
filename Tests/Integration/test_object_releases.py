"""Durable objects and releases: classes and their migrations, what a cutover does to objects and their WebSockets, and the API that
shows them. What objects do by themselves is tested elsewhere."""

import json
import os
import selectors
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
import unittest
import zlib

from harness import Node, edge, product, wait_until
from projects import Project
from raw_websocket import CLOSE, PING, PONG, TEXT, RawWebSocket
from rest import Rest
from test_scripts_api import Case, form
from test_upgrade import holds_lock, parent, process_of, report, successors, upgrade

HOST = "rooms.example"
CLASSES = "{ tag = \"v1\", new_sqlite_classes = [\"Room\"] }"


def shape(release, migrations=CLASSES, bindings='{ binding = "ROOMS", class = "Room" }', more=""):
    return f'''format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.rooms]
product = "RoomWorker"
routes = ["{HOST}/*"]
vars = {{ RELEASE = "{release}" }}
durable_objects = [{bindings}]
migrations = [{migrations}]
{more}'''


def environment(steps="[100]", keep_warm="1s", more="", objects=""):
    return {"staging": f'''format = 1
domain = "staging.example"
listen = ["127.0.0.1:0"]
keep_warm = "{keep_warm}"
{more}
[deploy]
steps = {steps}
bake = "0s"
monitor = "0s"
smoke = "optional"
no_traffic = "promote"
drain = "5s"
[durable_objects]
hibernate_after = "5m"
evict_after = "5m"
{objects}
'''}


# The long variant asks for a hundred cutovers of 5,000 sockets.
CUTOVERS = int(os.environ.get("EDGE_OBJECT_CUTOVERS", "4"))
SOCKETS = int(os.environ.get("EDGE_OBJECT_SOCKETS", "40"))
UPGRADES = int(os.environ.get("EDGE_OBJECT_UPGRADES", "2"))
UPGRADE_SOCKETS = int(os.environ.get("EDGE_UPGRADE_SOCKETS", "200"))


class Conversation:
    """Numbers messages on all sockets, both ways, three ahead of their answers. A context manager: it talks meanwhile."""

    AHEAD = 3

    def __init__(self, sockets):
        self.sockets = sockets
        self.counts = [0] * len(sockets)
        self.failures = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(300)
        for socket in self.sockets:
            socket.socket.close()

    def run(self):
        selector = selectors.DefaultSelector()
        sent = [0] * len(self.sockets)
        for index, socket in enumerate(self.sockets):
            selector.register(socket.socket, selectors.EVENT_READ, index)
            while sent[index] < self.AHEAD:
                socket.send(TEXT, str(sent[index]).encode())
                sent[index] += 1
        last = time.monotonic()
        while not self.failures:
            open_answers = sum(sent) - sum(self.counts)
            if self.stop.is_set() and open_answers == 0:
                return
            events = selector.select(1)
            if events:
                last = time.monotonic()
            elif time.monotonic() - last > 120:
                self.failures.append(f"{open_answers} answers don't come")
            for key, _ in events:
                self.take(key.data, sent)

    def take(self, index, sent):
        socket = self.sockets[index]
        try:
            while True:
                number = self.counts[index]
                opcode, payload = socket.receive()
                if opcode == CLOSE:
                    return self.failures.append(f"socket {index} was closed: {payload!r}")
                if opcode == PING:  # Thousands take their time to be opened.
                    socket.send(PONG, payload)
                else:
                    text, count, _ = payload.decode().split()
                    if (int(text), int(count)) != (number, number + 1):
                        return self.failures.append(f"socket {index}: {payload!r} in the place of {number}")
                    self.counts[index] = number + 1
                    if not self.stop.is_set():
                        socket.send(TEXT, str(sent[index]).encode())
                        sent[index] += 1
                if not socket.buffer:
                    return None
        except Exception as error:
            return self.failures.append(f"socket {index}: {error!r}")


class Staging:
    """A node of staging with its project. A context manager."""

    def __init__(self, first=None, environments=None, products=("RoomWorker",)):
        self.project = Project(first or shape("one"), environments or environment(), products=list(products))
        self.state = tempfile.mkdtemp(prefix="edge-rooms-")
        self.key = os.path.join(self.state + "-key", "key")
        self.node = None

    def start(self, fault=None):
        env = {name: value for name, value in os.environ.items() if name != "EDGE_FAULT"}
        if fault:
            env["EDGE_FAULT"] = fault
        self.node = Node(
            "serve", "--environment", "staging", "--products", self.project.path(".build/debug"), "--key-file", self.key,
            cwd=self.project.directory, state=self.state, env=env)
        self.node.__enter__()
        return self

    def end(self):
        if self.node:
            self.node.__exit__(None, None, None)
            self.node = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.end()
        for folder in (self.state, os.path.dirname(self.key)):
            shutil.rmtree(folder, ignore_errors=True)
        self.project.__exit__()

    def edge(self, *words, **keywords):
        return edge(*words, "--state", self.state, cwd=self.project.directory, **keywords)

    def deploy(self, text=None, *words):
        if text:
            self.project.write("wrangler-like.toml", text)
        return self.edge("deploy", "--environment", "staging", "--products", self.project.path(".build/debug"), *words)

    def get(self, path):
        return self.node.get(path, host=HOST, timeout=60)

    def text(self, path):
        answer = self.get(path)
        assert answer.status == 200, (answer.status, answer.text, self.node.log_text()[-3000:])
        return answer.text

    def numbers(self, path):
        return dict(part.split("=", 1) for part in self.text(path).split())

    def socket(self, path):
        return RawWebSocket(self.node.url + path, protocol=None, host=HOST, timeout=60)

    def rows(self, sql):
        connection = sqlite3.connect(os.path.join(self.state, "control.sqlite"))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def namespaces(self, state="live"):
        rows = self.rows(f"SELECT class, id FROM object_namespaces WHERE state = '{state}' ORDER BY class")
        return dict(rows)

    def wait_for_retirement(self):
        wait_until(
            lambda: not self.rows("SELECT 1 FROM release_deployments WHERE state NOT IN ('retired', 'rolled-back', 'refused')"),
            90, "the end of all deployments")


class Migrations(unittest.TestCase):
    seconds = 60

    def assert_deployed(self, result):
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def assert_refused(self, result, text):
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        self.assertIn(text, result.stdout + result.stderr)

    def test_probe_26_renamed_and_deleted_classes(self):
        with Staging() as staging:
            identity = staging.text("/ROOMS/lobby/id")
            self.assertRegex(identity, "^[0-9a-f]{64}$")
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 one")
            namespace = staging.namespaces()["Room"]

            renamed = CLASSES + ', { tag = "v2", renamed_classes = [{ from = "Room", to = "Hall" }] }'
            self.assert_deployed(staging.deploy(shape("two", renamed, '{ binding = "HALLS", class = "Hall" }')))
            self.assertEqual(staging.namespaces(), {"Hall": namespace})
            self.assertEqual(staging.text("/HALLS/lobby/id"), identity)
            self.assertEqual(staging.text("/HALLS/lobby/add"), "2 two")

            deleted = renamed + ', { tag = "v3", deleted_classes = ["Hall"] }'
            self.assert_refused(
                staging.deploy(shape("three", deleted, '{ binding = "HALLS", class = "Hall" }')),
                "Cannot apply --delete-class migration to class Hall without also removing the binding that references it")
            self.assertEqual(staging.text("/HALLS/lobby/add"), "3 two")

            self.assert_deployed(staging.deploy(shape("three", deleted, "")))
            self.assertEqual(staging.namespaces(), {})
            # Gone for good only when nobody can go back.
            directory = os.path.join(staging.state, "t", "objects")
            staging.wait_for_retirement()
            wait_until(lambda: not staging.namespaces("deleted"), 60, "the end of the namespace")
            self.assertFalse(os.path.exists(os.path.join(directory, namespace)))
            self.assertFalse(os.path.exists(os.path.join(directory, "trash", namespace)))

            anew = deleted + ', { tag = "v4", new_sqlite_classes = ["Hall"] }'
            self.assert_deployed(staging.deploy(shape("four", anew, '{ binding = "HALLS", class = "Hall" }')))
            self.assertNotEqual(staging.text("/HALLS/lobby/id"), identity)
            self.assertEqual(staging.text("/HALLS/lobby/add"), "1 four")

    def test_what_is_refused(self):
        with Staging() as staging:
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 one")
            both = CLASSES + ', { tag = "v2", new_sqlite_classes = ["Hall"] }'
            for text, reason in [
                (shape("two", CLASSES + ', { tag = "v2", new_sqlite_classes = ["Nowhere"] }'),
                 "Cannot apply new-sqlite-class migration to class 'Nowhere' that is not exported by the script"),
                (shape("two", '{ tag = "other", new_sqlite_classes = ["Hall"] }', '{ binding = "H", class = "Hall" }'),
                 "--force-migrations"),
                (shape("two", "", ""), "once a tag is set, every deployment carries them"),
                (shape("two", CLASSES + ', { tag = "v2", new_classes = ["Room"] }'), "already depended on by existing"),
                (shape("two", CLASSES + ', { tag = "v2", renamed_classes = [{ from = "Hall", to = "Plain" }] }'),
                 'class Hall, which the worker "rooms" doesn\'t have'),
                (shape("two", both, '{ binding = "ROOMS", class = "Rom" }'), 'did you mean "Room"?'),
            ]:
                with self.subTest(reason=reason):
                    result = staging.deploy(text)
                    # What only an isolate can tell is found when it runs.
                    self.assertIn(result.returncode, (1, 2))
                    self.assertIn(reason, result.stdout + result.stderr)
                    self.assertEqual(list(staging.namespaces()), ["Room"])
                    self.assertEqual(staging.numbers("/ROOMS/lobby/")["count"], "1")
            # Such a migration is a matter of all requests at once.
            self.assert_refused(staging.deploy(shape("two", both), "--steps", "50,100"), "with --steps 100")
            self.assertEqual(staging.rows("SELECT worker, tag FROM object_migrations"), [("rooms", "v1")])
            # A file that was written anew: whoever means it says so.
            self.assert_deployed(staging.deploy(
                shape("two", '{ tag = "other", new_sqlite_classes = ["Hall"] }',
                      '{ binding = "HALLS", class = "Hall" }'), "--force-migrations"))
            self.assertEqual(staging.rows("SELECT tag FROM object_migrations ORDER BY position"), [("v1",), ("other",)])
            self.assertEqual(sorted(staging.namespaces()), ["Hall", "Room"])

    def test_deploys_probe_18_no_rollback_goes_behind_a_migration(self):
        with Staging(environments=environment(keep_warm="5m")) as staging:
            self.assert_deployed(staging.deploy(shape("two")))
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 two")
            # Nothing was migrated since.
            self.assertEqual(staging.edge("rollback", "--yes").returncode, 0)
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "2 one")
            self.assert_deployed(staging.deploy(
                shape("three", CLASSES + ', { tag = "v2", new_sqlite_classes = ["Hall"] }')))
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "3 three")
            result = staging.edge("rollback", "--yes")
            self.assertNotEqual(result.returncode, 0)
            self.assertIn('"v2"', result.stdout + result.stderr)
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "4 three")

    def test_a_deployment_that_fails_takes_its_classes_with_it(self):
        with Staging() as staging:
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 one")
            smoke = 'smoke = [{ get = "/HALLS/x/add", status = 200 }, { get = "/ROOMS/lobby/", status = 599 }]\n'
            two = CLASSES + ', { tag = "v2", new_sqlite_classes = ["Hall"] }'
            bindings = '{ binding = "ROOMS", class = "Room" }, { binding = "HALLS", class = "Hall" }'
            result = staging.deploy(shape("two", two, bindings, smoke))
            self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
            # The new class was there for the smoke tests.
            self.assertRegex(result.stdout + result.stderr, r"/HALLS/x/add: passed")
            self.assertEqual(list(staging.namespaces()), ["Room"])
            wait_until(lambda: not staging.namespaces("planned"), 60, "the end of the class that never served")
            self.assertEqual(staging.rows("SELECT tag FROM object_migrations"), [("v1",)])
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "2 one")
            self.assert_deployed(staging.deploy(shape("two", two, bindings)))
            self.assertEqual(staging.text("/HALLS/x/add"), "1 two")

    def test_a_class_goes_to_another_worker_with_its_objects(self):
        more = f'''
[workers.halls]
product = "RoomWorker"
routes = ["{HOST}/halls/*"]
vars = {{ RELEASE = "halls" }}
durable_objects = [{{ binding = "halls", class = "Hall" }}]
migrations = [{{ tag = "t1", transferred_classes = [{{ from = "Room", from_script = "rooms", to = "Hall" }}] }}]
'''
        with Staging() as staging:
            identity = staging.text("/ROOMS/lobby/id")
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 one")
            bindings = '{ binding = "ROOMS", class = "Hall", worker = "halls" }'
            self.assert_deployed(staging.deploy(shape("two", CLASSES, bindings, more)))
            self.assertEqual(staging.text("/ROOMS/lobby/id"), identity)
            # Called through either worker; it is the new one's.
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "2 halls")
            self.assertEqual(staging.text("/halls/lobby/add"), "3 halls")


class Cutovers(unittest.TestCase):
    seconds = 60

    def test_objects_keep_their_data_and_follow_the_release(self):
        with Staging() as staging:
            for index in range(20):
                self.assertEqual(staging.text(f"/ROOMS/{index}/add"), "1 one")
            self.assertEqual(staging.deploy(shape("two")).returncode, 0)
            for index in range(20):
                self.assertEqual(staging.text(f"/ROOMS/{index}/add"), "2 two")
            # A node that is killed forgets nothing of it.
            staging.node.kill()
            staging.end()
            staging.start()
            for index in range(20):
                self.assertEqual(staging.text(f"/ROOMS/{index}/add"), "3 two")

    def test_probe_23_sockets_stay_open_and_the_next_message_is_the_new_versions(self):
        with Staging() as staging, staging.socket("/ROOMS/lobby/socket") as socket:
            socket.send(TEXT, b"a")
            self.assertEqual(socket.receive(), (TEXT, b"a 1 one"))
            self.assertEqual(staging.deploy(shape("two")).returncode, 0)
            socket.send(TEXT, b"b")
            self.assertEqual(socket.receive(), (TEXT, b"b 2 two"))
            self.assertEqual(staging.numbers("/ROOMS/lobby/")["sockets"], "1")
            staging.wait_for_retirement()
            socket.send(TEXT, b"c")
            self.assertEqual(socket.receive(), (TEXT, b"c 3 two"))

    def test_probe_23_disconnect(self):
        environments = environment(objects='on_deploy = "disconnect"')
        with Staging(environments=environments) as staging, staging.socket("/ROOMS/lobby/socket") as socket:
            socket.send(TEXT, b"a")
            self.assertEqual(socket.receive(), (TEXT, b"a 1 one"))
            self.assertEqual(staging.deploy(shape("two")).returncode, 0)
            self.assertEqual(socket.close_code()[0], 1012)

    def test_probe_24_what_runs_finishes_or_is_cut(self):
        with Staging() as staging:
            answers = {}

            def ask(name, milliseconds):
                answers[name] = staging.get(f"/ROOMS/{name}/slow/{milliseconds}")

            threads = [threading.Thread(target=ask, args=item) for item in (("short", 2000), ("long", 60_000))]
            for thread in threads:
                thread.start()
            wait_until(lambda: staging.numbers("/ROOMS/other/")["release"] == "one", 20)
            self.assertEqual(staging.deploy(shape("two")).returncode, 0)
            for thread in threads:
                thread.join(90)
            self.assertEqual((answers["short"].status, answers["short"].text), (200, "one"))
            self.assertGreaterEqual(answers["long"].status, 500)
            self.assertEqual(staging.numbers("/ROOMS/short/")["slow"], "1")
            # No write of it is visible.
            self.assertEqual(staging.numbers("/ROOMS/long/")["slow"], "0")

    def test_probe_28_shares_of_objects_only_grow(self):
        with Staging(environments=environment(steps="[20, 50, 100]")) as staging:
            names = [f"o{index}" for index in range(120)]

            def moved():
                return {name for name in names if staging.numbers(f"/ROOMS/{name}/")["release"] == "two"}

            self.assertEqual(moved(), set())
            result = staging.deploy(shape("two"), "--pause-at", "20")
            self.assertEqual(result.returncode, 3, result.stdout + result.stderr)
            before = moved()
            # 24 are expected of 120.
            self.assertGreater(len(before), 6)
            self.assertLess(len(before), 50)
            self.assertEqual(staging.edge("deploy", "promote").returncode, 0)
            wait_until(lambda: moved() >= before and len(moved()) == len(names), 60, "all objects on the new release")

    def test_probe_14_alarms_fire_on_the_new_version(self):
        with Staging() as staging:
            self.assertEqual(staging.text("/ROOMS/lobby/alarm/1500"), "one")
            self.assertEqual(staging.deploy(shape("two")).returncode, 0)
            wait_until(lambda: staging.numbers("/ROOMS/lobby/")["alarms"] == "1", 60, "the alarm")

    def test_sequence_over_many_cutovers(self):
        """No close, nothing lost or doubled, and in order. `scripts/soak` has more of both."""
        with Staging(environments=environment(keep_warm="1s")) as staging:
            talk = Conversation([staging.socket(f"/ROOMS/{index % 50}/socket") for index in range(SOCKETS)])
            with talk:
                for round in range(CUTOVERS):
                    before = list(talk.counts)
                    result = staging.deploy(shape(f"r{round}"))
                    self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                    wait_until(
                        lambda: talk.failures or all(now > then for now, then in zip(talk.counts, before)), 300, "messages")
            self.assertEqual(talk.failures, [])
            self.assertGreaterEqual(min(talk.counts), CUTOVERS)
            report = staging.edge("releases", "view", "--json", str(CUTOVERS + 1))
            self.assertEqual(report.returncode, 0, report.stderr)


class Death(unittest.TestCase):
    """kill -9 of the node while a release with another class takes over: what was acknowledged is there, on one version alone."""

    seconds = 120

    def test_kill_in_the_states_of_a_deployment(self):
        bindings = '{ binding = "ROOMS", class = "Room" }, { binding = "HALLS", class = "Hall" }'
        two = CLASSES + ', { tag = "v2", new_sqlite_classes = ["Hall"] }'
        for state in ("smoke-tested", "shifting", "active", "active:after-effect", "draining"):
            with self.subTest(state=state), Staging() as staging:
                # From here on, a node starts with what was deployed.
                result = staging.deploy(shape("two"))
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                staging.wait_for_retirement()
                staging.end()
                staging.start(fault=f"deployment:{state}")
                acknowledged, attempted = [0] * 4, [0] * 4

                def count(index):
                    while True:
                        try:
                            attempted[index] += 1
                            answer = staging.get(f"/ROOMS/{index}/add")
                            if answer.status == 200:
                                acknowledged[index] = int(answer.text.split()[0])
                        except Exception:
                            return

                threads = [threading.Thread(target=count, args=(index,)) for index in range(4)]
                for thread in threads:
                    thread.start()
                wait_until(lambda: all(acknowledged), 60, "increments")
                # Nobody follows it: that would wait for the node to come back.
                staging.deploy(shape("three", two, bindings), "--detach")
                staging.node.process.wait(60)
                for thread in threads:
                    thread.join(90)
                staging.end()
                staging.start()
                wait_until(lambda: not staging.rows("SELECT 1 FROM deployment_locks"), 90, "the end of the deployment")
                for index in range(4):
                    found = staging.numbers(f"/ROOMS/{index}/")
                    self.assertGreaterEqual(int(found["count"]), acknowledged[index])
                    self.assertLessEqual(int(found["count"]), attempted[index])
                    self.assertEqual(found["release"], "three")
                self.assertEqual(staging.text("/HALLS/x/add"), "1 three")
                self.assertEqual(sorted(staging.namespaces()), ["Hall", "Room"])


class Upgrading(unittest.TestCase):
    def test_objects_go_on_in_the_next_process(self):
        with Staging() as staging:
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 one")
            staging.text("/ROOMS/lobby/alarm/100")
            try:
                done = upgrade(staging.node)
                self.assertEqual(done.returncode, 0, done.stderr + staging.node.log_text()[-3000:])
                self.assertEqual(staging.text("/ROOMS/lobby/add"), "2 one")
                wait_until(lambda: staging.numbers("/ROOMS/lobby/")["alarms"] == "1", 60, "the alarm")
            finally:
                # The next process is no child of ours.
                os.kill(process_of(staging.node), signal.SIGKILL)


class Sockets(unittest.TestCase):
    """Hibernating WebSockets while the process of the node is replaced: `edge upgrade`."""

    seconds = 30

    @classmethod
    def setUpClass(cls):
        cls.staging = Staging().__enter__()
        cls.addClassCleanup(cls.end)

    @classmethod
    def end(cls):
        # The next process is no child of ours.
        os.kill(process_of(cls.staging.node), signal.SIGKILL)
        cls.staging.__exit__()

    def upgrade(self):
        before = process_of(self.staging.node)
        done = upgrade(self.staging.node)
        self.assertEqual(done.returncode, 0, done.stderr + self.staging.node.log_text()[-3000:])
        self.assertNotEqual(process_of(self.staging.node), before)

    def test_sequence_over_upgrades(self):
        """Sockets that talk all the time: no close, nothing lost or doubled, in order; attachments count, tags are there."""
        rooms, each = 20, UPGRADE_SOCKETS // 20
        talk = Conversation([
            self.staging.socket(f"/ROOMS/{index % rooms}/socket/all/{'even' if index % 2 == 0 else 'odd'}")
            for index in range(rooms * each)])
        with talk:
            for _ in range(UPGRADES):
                before = list(talk.counts)
                self.upgrade()
                self.assertGreaterEqual(report(self.staging.node)["websockets"], UPGRADE_SOCKETS)
                wait_until(
                    lambda: talk.failures or all(now > then for now, then in zip(talk.counts, before)), 300, "messages")
            self.assertEqual(talk.failures, [])
            self.assertEqual(self.staging.text("/ROOMS/2/tagged/even"), str(each))
            self.assertEqual(self.staging.text("/ROOMS/2/tagged/all"), str(each))
            self.assertEqual(self.staging.text("/ROOMS/2/tagged/odd"), "0")
        self.assertEqual(talk.failures, [])

    def test_what_has_come_in_part_and_what_comes_meanwhile(self):
        """A message of which the old process has read the beginning, one that the kernel has, and a client that goes."""
        sockets = [self.staging.socket("/ROOMS/parts/socket") for _ in range(3)]
        half, meanwhile, gone = sockets
        for socket in sockets:
            socket.send(TEXT, b"0")
            self.assertEqual(socket.receive(), (TEXT, b"0 1 one"))
        frames = half.frame(TEXT, b"a" * 70_000, final=False) + half.frame(9, b"p") + half.frame(0, b"b" * 70_000)
        half.socket.sendall(frames[:100_003])
        self.assertEqual(half.receive(), (10, b"p"))
        stop = threading.Event()

        def talk():
            # One at a time: what is sent while the processes change waits in the kernel.
            number = 1
            while not stop.is_set():
                meanwhile.send(TEXT, str(number).encode())
                self.answers.append(meanwhile.receive())
                number += 1

        self.answers = []
        thread = threading.Thread(target=talk)
        thread.start()
        try:
            wait_until(lambda: len(self.answers) > 3, 60, "answers")
            gone.socket.close()
            self.upgrade()
            count = len(self.answers)
            wait_until(lambda: len(self.answers) > count + 3, 60, "answers of the next process")
        finally:
            stop.set()
            thread.join(60)
        self.assertEqual(self.answers, [(TEXT, b"%d %d one" % (n, n + 1)) for n in range(1, len(self.answers) + 1)])
        half.socket.sendall(frames[100_003:])
        self.assertEqual(half.receive_message(), (TEXT, b"a" * 70_000 + b"b" * 70_000 + b" 2 one"))
        # Whoever has gone has gone there, too.
        wait_until(lambda: self.staging.numbers("/ROOMS/parts/")["sockets"] == "2", 60, "the end of the third one")
        self.assertEqual(self.staging.text("/ROOMS/parts/tell/hello"), "one")
        for socket in (half, meanwhile):
            self.assertEqual(socket.receive(), (TEXT, b"hello"))
            socket.send(CLOSE, b"\x03\xe8bye")
            self.assertEqual(socket.close_code(), (1000, ""))
        wait_until(lambda: self.staging.numbers("/ROOMS/parts/")["sockets"] == "0", 60, "the end of all")

    def test_a_slow_client_gets_what_waits_for_it(self):
        url = self.staging.node.url + "/ROOMS/slow/socket"
        with RawWebSocket(url, protocol=None, host=HOST, timeout=60, receive_buffer=4096) as slow:
            # More than the kernel takes, and less than a client is left for.
            texts = [f"{number:04}" + "x" * 7900 for number in range(500)]
            for text in texts:
                self.assertEqual(self.staging.text(f"/ROOMS/slow/tell/{text}"), "one")
            self.upgrade()
            for text in texts:
                self.assertEqual(slow.receive(), (TEXT, text.encode()))
            slow.send(TEXT, b"0")
            self.assertEqual(slow.receive(), (TEXT, b"0 1 one"))

    def test_compression_goes_on_between_messages(self):
        """Within one it can't: that client is told to come again, and the object that it has gone."""
        def compressed(text):
            deflate = zlib.compressobj(wbits=-15)
            return (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]

        url, offer = self.staging.node.url + "/ROOMS/deflate/socket", ["Sec-WebSocket-Extensions: permessage-deflate"]
        with RawWebSocket(url, protocol=None, host=HOST, timeout=60, headers=offer) as between, \
                RawWebSocket(url, protocol=None, host=HOST, timeout=60, headers=offer) as within:
            for socket in (between, within):
                self.assertIn("permessage-deflate", socket.head)
                socket.send(TEXT, compressed(b"0"), reserved=4)
                self.assertEqual(socket.receive(), (TEXT, b"0 1 one"))
            within.send(TEXT, compressed(b"half"), reserved=4, final=False)
            # It was read, and the ping behind it.
            within.send(9, b"p")
            self.assertEqual(within.receive(), (10, b"p"))
            self.upgrade()
            self.assertEqual(within.close_code(), (1012, "the node is being replaced: connect again"))
            text = b"1" * 1000
            between.send(TEXT, compressed(text), reserved=4)
            opcode, answer = between.receive(compressed=True)
            plain = zlib.decompressobj(wbits=-15).decompress(answer + b"\0\0\xff\xff")
            self.assertEqual((opcode, plain), (TEXT, text + b" 2 one"))
            wait_until(lambda: self.staging.numbers("/ROOMS/deflate/")["sockets"] == "1", 60, "the end of the other one")

    def test_a_failed_upgrade_leaves_them(self):
        node = self.staging.node
        with self.staging.socket("/ROOMS/failing/socket/all") as socket:
            socket.send(TEXT, b"0")
            self.assertEqual(socket.receive(), (TEXT, b"0 1 one"))
            before = process_of(node)
            asked = node.request(
                "POST", "/client/v4/edge/node/upgrade", body=json.dumps({"binary": product("edge")}),
                headers={"authorization": f"Bearer {node.operator_token()}", "content-type": "application/json"},
                port=node.control_port)
            self.assertEqual(asked.status, 200, asked.text)
            process = next(pid for pid in successors() if parent(pid) == before)
            # It has got all there is, and ends instead of serving.
            wait_until(lambda: holds_lock(self.staging.state, process), 60, "the other one's lock")
            os.kill(process, signal.SIGKILL)
            wait_until(lambda: report(node)["state"] == "failed", 60, lambda: report(node))
            self.assertEqual(process_of(node), before)
            socket.send(TEXT, b"1")
            self.assertEqual(socket.receive(), (TEXT, b"1 2 one"))
            self.upgrade()
            socket.send(TEXT, b"2")
            self.assertEqual(socket.receive(), (TEXT, b"2 3 one"))


class Archives(unittest.TestCase):
    def test_objects_go_with_their_tenant(self):
        with Staging() as one, Staging() as two:
            for name in ("a", "b"):
                self.assertEqual(one.text(f"/ROOMS/{name}/add"), "1 one")
            identity = one.text("/ROOMS/a/id")
            self.assertNotEqual(two.text("/ROOMS/a/id"), identity)
            archive = os.path.join(one.state, "archive.tar")
            self.assertEqual(one.edge("state", "export", "--tenant", "t", "--out", archive).returncode, 0)
            self.assertEqual(one.text("/ROOMS/a/add"), "2 one")
            result = two.edge("state", "import", archive, "--tenant", "t", "--keep-secrets", "--yes")
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            # Ids stay what they were.
            self.assertEqual(two.text("/ROOMS/a/id"), identity)
            self.assertEqual(two.text("/ROOMS/a/add"), "2 one")
            self.assertEqual(two.text("/ROOMS/b/add"), "2 one")
            self.assertEqual(two.edge("state", "reset", "--tenant", "t", "--yes").returncode, 0)
            self.assertEqual(two.text("/ROOMS/a/id"), identity)
            self.assertEqual(two.text("/ROOMS/a/add"), "1 one")


class Surfaces(unittest.TestCase):
    seconds = 40

    def test_api_and_command_line(self):
        with Staging() as staging:
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 one")
            identity = staging.text("/ROOMS/lobby/id")
            rest = Rest(staging.node, "t")
            found = rest.result("GET", "workers/durable_objects/namespaces")
            self.assertEqual(
                [(item["name"], item["script"], item["class"], item["use_sqlite"]) for item in found],
                [("rooms_Room", "rooms", "Room", True)])
            namespace = found[0]["id"]
            self.assertRegex(namespace, "^[0-9a-f]{32}$")
            objects = f"workers/durable_objects/namespaces/{namespace}/objects"
            self.assertEqual(rest.result("GET", objects), [{"id": identity, "hasStoredData": True}])
            for name in ("a", "b", "c"):
                staging.text(f"/ROOMS/{name}/add")
            pages, cursor = [], ""
            for _ in range(5):
                answer = rest.ask("GET", f"{objects}?limit=2&cursor={cursor}").json()
                pages.append([item["id"] for item in answer["result"]])
                cursor = answer["result_info"]["cursor"]
                if not cursor:
                    break
            ids = [identity for page in pages for identity in page]
            self.assertEqual((len(ids), sorted(set(ids))), (4, ids))
            own = f"edge/durable_objects/namespaces/{namespace}"
            self.assertEqual(rest.result("GET", f"{own}/id?name=lobby"), {"id": identity})
            status = rest.result("GET", f"{own}/objects/{identity}")
            self.assertEqual((status["state"], status["hasStoredData"]), ("open", True))
            self.assertEqual(rest.result("POST", f"{own}/objects/{identity}/evict"), {"evicted": True})
            self.assertEqual(rest.result("GET", f"{own}/objects/{identity}")["state"], "absent")
            self.assertEqual(staging.numbers("/ROOMS/lobby/")["lives"], "2")
            for path, status in ((f"{own}/objects/zz", 400), (f"{own}/objects/{'0' * 64}", 400),
                                 (f"workers/durable_objects/namespaces/{'0' * 32}/objects", 404)):
                self.assertEqual(rest.ask("GET", path).status, status, path)

            lines = staging.edge("durable-objects", "namespaces").stdout
            self.assertRegex(lines, rf"{namespace}\s+rooms\s+Room\s+sqlite")
            listed = json.loads(staging.edge("do", "list", "Room", "--json").stdout)
            self.assertEqual([item["id"] for item in listed], ids)
            shown = json.loads(staging.edge("do", "inspect", "rooms/Room", "--name", "lobby", "--json").stdout)
            self.assertEqual(shown["id"], identity)
            self.assertIn(identity, staging.edge("do", "inspect", "Room", identity).stdout)
            self.assertNotEqual(staging.edge("do", "delete", "Room", "--name", "lobby").returncode, 0)
            self.assertIn(identity, staging.edge("do", "delete", "Room", "--name", "lobby", "--yes").stdout)
            self.assertEqual(staging.text("/ROOMS/lobby/add"), "1 one")
            self.assertIn("there is no namespace", staging.edge("do", "list", "Nowhere").stderr)


class Uploads(Case):
    """Migrations that come with an upload, as wrangler sends them: acceptance of the product's numbers."""

    seconds = 40

    def setUp(self):
        self.node = self.enterContext(Node("run", product("RoomWorker"), "--no-log-requests"))
        self.connect()
        with open(product("RoomWorker"), "rb") as file:
            self.code = file.read()

    def form(self, release, migrations=None, bindings=(("ROOMS", "Room"),)):
        metadata = {
            "main_module": "worker",
            "bindings": [{"type": "plain_text", "name": "RELEASE", "text": release}] + [
                {"type": "durable_object_namespace", "name": name, "class_name": name_of_class}
                for name, name_of_class in bindings]}
        if migrations:
            metadata["migrations"] = migrations
        return form(metadata, ("worker", self.code))

    def put(self, *arguments, **keywords):
        status, answer = self.ask("PUT", "/rooms", *self.form(*arguments, **keywords))
        self.assertEqual(status, 200, answer)
        return answer["result"]

    def refuse(self, code, *arguments, **keywords):
        return self.refused(400, code, "PUT", "/rooms", *self.form(*arguments, **keywords))

    def text(self, path):
        return self.node.get(path, host="rooms.local.localhost").text

    def test_migrations_of_uploads(self):
        one = {"new_tag": "v1", "new_sqlite_classes": ["Room"]}
        self.assertIn("not currently configured to implement Durable Objects", self.refuse(10061, "one"))
        self.refuse(10070, "one", {"new_tag": "v1", "new_sqlite_classes": ["Nowhere"]}, bindings=())
        self.refuse(10021, "one", {"new_tag": "v1", "new_sqlite_classes": "Room"})
        self.assertEqual(self.put("one", one)["migration_tag"], "v1")
        self.assertEqual(self.text("/ROOMS/a/add"), "1 one")
        self.assertIn("current tag is 'v1'", self.refuse(10079, "two", one))
        self.refuse(10074, "two", {"old_tag": "v1", "new_tag": "v2", "steps": [{"new_classes": ["Room"]}]})
        self.assertIn(
            "Cannot apply --delete-class migration to class Room without also removing the binding that references it",
            self.refuse(10061, "two", {"old_tag": "v1", "new_tag": "v2", "steps": [{"deleted_classes": ["Room"]}]}))
        renamed = {"old_tag": "v1", "new_tag": "v2", "steps": [{"renamed_classes": [{"from": "Room", "to": "Hall"}]}]}
        self.refused(400, 10211, "POST", "/rooms/versions", *self.form("two", renamed, bindings=[("HALLS", "Hall")]))
        # Without migrations of its own, an upload leaves them as they are.
        first = self.put("again")
        self.assertEqual(first["migration_tag"], "v1")
        self.assertEqual(self.text("/ROOMS/a/add"), "2 again")
        self.assertEqual(self.put("two", renamed, bindings=[("HALLS", "Hall")])["migration_tag"], "v2")
        self.assertEqual(self.text("/HALLS/a/add"), "3 two")
        # There is no way back behind it.
        versions = self.ask("GET", "/rooms/versions")[1]["result"]["items"]
        self.refused(
            400, 10211, "POST", "/rooms/deployments",
            {"strategy": "percentage", "versions": [{"version_id": versions[-1]["id"], "percentage": 100}]})
        self.assertEqual(self.text("/HALLS/a/add"), "4 two")
