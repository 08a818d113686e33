"""`edge upgrade`: the process of a node is replaced while clients ask, and none of them notices; whatever goes wrong leaves the old
process serving."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from harness import ROOT, Node, edge, is_alive, product, wait_until
from raw_websocket import TEXT, RawWebSocket
from test_deploy_engine import Staging
from test_load_balancer import Load


def process_of(node):
    """The pid of the process that serves."""
    return report(node)["pid"]


def report(node):
    headers = {"authorization": f"Bearer {node.operator_token()}"}
    return node.request("GET", "/client/v4/edge/node/upgrade", headers=headers, port=node.control_port).json()["result"]


def upgrade(node, binary=None, *arguments):
    return edge("upgrade", "--binary", binary or product("edge"), *arguments, "--state", node.state, timeout=200)


def successors():
    """Processes that were started as the next one of a node."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if b"EDGE_UPGRADE_SOCKET=3" in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def holds_lock(state, pid):
    inode = os.stat(os.path.join(state, "lock")).st_ino
    with open("/proc/locks") as locks:
        for line in locks:
            words = line.split()
            if "->" not in words and words[1] == "FLOCK" and int(words[4]) == pid and words[5].endswith(f":{inode}"):
                return True
    return False


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


class Upgrading(unittest.TestCase):
    seconds = 120

    def node(self, *arguments, **keywords):
        return Node("run", product("HelloWorker"), "--kv", "KV", *arguments, **keywords)

    def upgraded(self, node, binary=None):
        done = upgrade(node, binary)
        self.assertEqual(done.returncode, 0, f"{done.stderr}\n{node.log_text()[-4000:]}")
        self.assertIn("requests waited for", done.stdout)

    def test_websockets_are_told_to_come_again(self):
        """Those of plain workers can't outlive their isolates: they end at once, with the code of a restart."""
        with self.node() as node:
            sockets = [RawWebSocket(node.url + "/ws/echo", protocol=None, timeout=60) for _ in range(20)]
            for ws in sockets:
                ws.send(TEXT, b"before")
                self.assertEqual(ws.receive(), (TEXT, b"before"))
            self.upgraded(node)
            for ws in sockets:
                self.assertEqual(ws.close_code(), (1012, "the node is being replaced: connect again"))
                ws.socket.close()
            with RawWebSocket(node.url + "/ws/echo", protocol=None, timeout=60) as ws:
                ws.send(TEXT, b"after")
                self.assertEqual(ws.receive(), (TEXT, b"after"))

    def test_ten_upgrades_fail_no_request_and_lose_no_write(self):
        with tempfile.TemporaryDirectory() as directory, self.node() as node:
            copy = shutil.copy(product("edge"), os.path.join(directory, "edge-copy"))
            idle = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
            idle.request("GET", "/hello")
            self.assertEqual(idle.getresponse().read(), b"hello")
            own = idle.sock.getsockname()
            written = []
            ends = threading.Event()
            failures = []

            def write():
                connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
                while not ends.is_set():
                    key = f"key-{len(written)}"
                    try:
                        connection.request("PUT", f"/kv/{key}", body=key)
                        answer = connection.getresponse()
                        answer.read()
                        if answer.status >= 300:
                            failures.append((key, answer.status))
                    except Exception as error:
                        failures.append((key, repr(error)))
                        connection.close()
                    written.append(key)
                    time.sleep(0.005)

            writer = threading.Thread(target=write)
            processes = {process_of(node)}
            with Load(node.port, host=f"127.0.0.1:{node.port}") as load:
                writer.start()
                try:
                    for number in range(10):
                        self.upgraded(node, copy if number % 2 == 0 else None)
                        told = report(node)
                        self.assertEqual((told["state"], told["number"]), ("succeeded", number + 1))
                        processes.add(told["pid"])
                        # The connection that nobody uses meanwhile is the same one.
                        idle.request("GET", "/hello")
                        answer = idle.getresponse()
                        self.assertEqual((answer.read(), answer.getheader("connection")), (b"hello", None))
                        self.assertEqual(idle.sock.getsockname(), own)
                finally:
                    ends.set()
                    writer.join(90)
            self.assertEqual(load.failures, [], load.counts)
            self.assertEqual(failures, [])
            self.assertEqual(len(processes), 11)
            for key in written:
                self.assertEqual(node.get(f"/kv/{key}").text, key)
            self.assertIn("ready", edge("status", "--state", node.state).stdout)
            # Whoever started it waits for one process, and that for one.
            wait_until(lambda: parent(process_of(node)) == node.process.pid, 60, "the end of those between")
            self.assertEqual(node.stop(), 0)
            wait_until(lambda: not is_alive(told["pid"]), 20, "the end of the node")

    def test_requests_and_streams_that_are_open_are_finished(self):
        with self.node() as node:
            node.get("/hello")
            answers = {}

            def ask(path):
                connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=90)
                connection.request("GET", path)
                answer = connection.getresponse()
                answers[path] = answer.read()
                # The connection goes on, whichever process has it by now.
                connection.request("GET", "/hello")
                answers[path + " then"] = connection.getresponse().read()

            threads = [threading.Thread(target=ask, args=(path,)) for path in ("/sleep/4000", "/ticks/80/100")]
            for thread in threads:
                thread.start()
            state = lambda: json.loads(edge("node", "status", "--json", "--state", node.state).stdout)
            wait_until(lambda: state()["open_requests"] == 2, 30, "both requests")
            before = process_of(node)
            self.upgraded(node)
            self.assertNotEqual(process_of(node), before)
            for thread in threads:
                thread.join(90)
            stream = b"".join(b"data: %d\n\n" % number for number in range(1, 81))
            self.assertEqual(answers, {"/sleep/4000": b"slept", "/sleep/4000 then": b"hello", "/ticks/80/100": stream,
                                       "/ticks/80/100 then": b"hello"})

    def test_a_request_that_was_half_sent_is_answered_by_the_next_process(self):
        with self.node() as node:
            with node.connect(60) as connection:
                connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Lo")
                # It is the node's, not the kernel's, before the process is replaced.
                wait_until(lambda: node.status()["connections"] >= 2, 20, "the connection")
                self.upgraded(node)
                connection.sendall(b"ng: 1\r\n\r\n")
                self.assertIn(b"200 OK", connection.recv(4096))

    def test_connections_with_tls_are_told_to_end_and_new_ones_are_served(self):
        with self.node("--https") as node:
            ends = threading.Event()
            failures = []
            count = [0, 0]

            def ask(index, keeps):
                context = ssl._create_unverified_context()
                connection = http.client.HTTPSConnection("127.0.0.1", node.port, timeout=60, context=context)
                while not ends.is_set():
                    try:
                        connection.request("GET", "/hello")
                        answer = connection.getresponse()
                        if answer.read() != b"hello":
                            failures.append(answer.status)
                        if not keeps:
                            connection.close()
                    except Exception as error:
                        failures.append(repr(error))
                        connection.close()
                    count[index] += 1
                    time.sleep(0.01)

            threads = [threading.Thread(target=ask, args=(index, keeps)) for index, keeps in enumerate((True, False))]
            for thread in threads:
                thread.start()
            try:
                for _ in range(2):
                    before = list(count)
                    self.upgraded(node)
                    wait_until(lambda: all(now > then + 5 for now, then in zip(count, before)), 60, "more requests")
            finally:
                ends.set()
                for thread in threads:
                    thread.join(60)
            self.assertEqual(failures, [], count)


class Failing(unittest.TestCase):
    seconds = 60

    def setUp(self):
        self.node = Node("run", product("HelloWorker"), "--kv", "KV")
        self.node.start()
        self.addCleanup(self.node.__exit__, None, None, None)
        self.before = process_of(self.node)

    def assertAsBefore(self):
        self.assertEqual(process_of(self.node), self.before)
        self.assertEqual(self.node.get("/hello").text, "hello")
        self.assertEqual(self.node.request("PUT", "/kv/after", body="1").status, 204)
        self.assertEqual(self.node.get("/kv/after").text, "1")
        self.assertEqual(self.node.get("/__edge/health/ready").status, 200)
        self.assertIn("ready", edge("status", "--state", self.node.state).stdout)
        # And it can be replaced by one that works.
        self.assertEqual(upgrade(self.node).returncode, 0)
        self.assertNotEqual(process_of(self.node), self.before)
        self.assertEqual(self.node.get("/kv/after").text, "1")

    def assertFails(self, binary, message):
        done = upgrade(self.node, binary, "--timeout", "30s")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(message, done.stderr)

    def test_what_is_no_edge_changes_nothing(self):
        self.assertFails("/bin/false", "the new process ended")
        self.assertEqual(report(self.node)["state"], "failed")
        with tempfile.NamedTemporaryFile() as file:
            self.assertFails(file.name, "can't be executed")
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "silent")
            with open(script, "w") as file:
                file.write("#!/bin/sh\nexec sleep 600\n")
            os.chmod(script, 0o755)
            done = upgrade(self.node, script, "--timeout", "1s")
            self.assertEqual(done.returncode, 1)
            self.assertIn("took too long", done.stderr)
        self.assertEqual([pid for pid in successors() if parent(pid) == self.before], [])
        self.assertAsBefore()

    def test_the_new_process_killed_at_any_moment_leaves_the_old_one_or_is_the_node(self):
        headers = {"authorization": f"Bearer {self.node.operator_token()}", "content-type": "application/json"}
        body = json.dumps({"binary": product("edge")})
        with Load(self.node.port, host=f"127.0.0.1:{self.node.port}") as load:
            for moment in ("at once", "the new process starts", "the new process opens the stores", 0.05):
                asked = self.node.request(
                    "POST", "/client/v4/edge/node/upgrade", body=body, headers=headers, port=self.node.control_port)
                self.assertEqual(asked.status, 200, asked.text)
                process = next(pid for pid in successors() if parent(pid) == self.before)
                if isinstance(moment, float):
                    time.sleep(moment)
                elif moment == "the new process opens the stores":
                    # Nothing but the lock tells, since requests wait; it changes hands when the stores are free.
                    wait_until(lambda: holds_lock(self.node.state, process), 60, "the other one's lock")
                os.kill(process, signal.SIGKILL)
                wait_until(lambda: report(self.node)["state"] != "running", 60, lambda: report(self.node))
                self.assertEqual(report(self.node)["state"], "failed", moment)
        self.assertEqual(load.failures, [], load.counts)
        self.assertAsBefore()

    def test_one_at_a_time(self):
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "silent")
            with open(script, "w") as file:
                file.write("#!/bin/sh\nexec sleep 600\n")
            os.chmod(script, 0o755)
            first = threading.Thread(target=upgrade, args=(self.node, script, "--timeout", "8s"))
            first.start()
            wait_until(lambda: report(self.node)["state"] == "running", 20, "the first one")
            done = upgrade(self.node)
            self.assertEqual(done.returncode, 1)
            self.assertIn("is in progress", done.stderr)
            first.join(60)
        self.assertAsBefore()


class Deploying(unittest.TestCase):
    """Upgrades and deployments: one after the other."""

    seconds = 60

    def test_neither_begins_while_the_other_goes_on(self):
        with Staging() as staging:
            node = staging.node
            staging.set("two")
            self.assertEqual(staging.deploy("--pause-at", "50").returncode, 3)
            before = process_of(node)
            done = upgrade(node)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("deployment 2 is in progress", done.stderr)
            self.assertEqual(process_of(node), before)
            self.assertEqual(staging.edge("deploy", "abort").returncode, 0)
            wait_until(lambda: not staging.rows("SELECT 1 FROM deployment_locks"), 60, "the end of the deployment")
            with tempfile.TemporaryDirectory() as directory:
                script = os.path.join(directory, "silent")
                with open(script, "w") as file:
                    file.write("#!/bin/sh\nexec sleep 600\n")
                os.chmod(script, 0o755)
                first = threading.Thread(target=upgrade, args=(node, script, "--timeout", "10s"))
                first.start()
                wait_until(lambda: report(node)["state"] == "running", 20, "the upgrade")
                done = staging.deploy()
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertIn("is being replaced", done.stderr)
                first.join(60)
            # It failed, and is in nobody's way.
            done = staging.deploy()
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(staging.served(), "two")
            # A release that waits for its end is none that goes on.
            self.assertEqual(upgrade(node).returncode, 0)
            self.assertEqual(staging.served(), "two")


class Waiting(unittest.TestCase):
    """Whoever started the node, and waits for that process."""

    seconds = 30

    def test_signals_reach_the_process_that_serves(self):
        with Node("run", product("HelloWorker")) as node:
            first = node.process.pid
            self.assertEqual(upgrade(node).returncode, 0)
            second = process_of(node)
            wait_until(lambda: open(f"/proc/{first}/cmdline").read().startswith("edge\0follow"), 60, "the end of the first")
            self.assertEqual(node.get("/hello").text, "hello")
            os.kill(first, signal.SIGTERM)
            self.assertEqual(node.process.wait(40), 0)
            self.assertFalse(is_alive(second))

    def test_the_node_ends_with_the_process_that_waits_for_it(self):
        with Node("run", product("HelloWorker")) as node:
            self.assertEqual(upgrade(node).returncode, 0)
            self.assertEqual(upgrade(node).returncode, 0)
            last = process_of(node)
            node.process.kill()
            wait_until(lambda: not is_alive(last), 40, "the end of the node")

    def test_a_service_manager_is_told(self):
        with tempfile.TemporaryDirectory() as directory:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(os.path.join(directory, "notify"))
                manager.settimeout(60)
                node = Node("run", product("HelloWorker"), env=dict(os.environ, NOTIFY_SOCKET=manager.getsockname()))
                with node:
                    first = node.process.pid
                    self.assertIn(f"READY=1\nMAINPID={first}\n", manager.recv(4096).decode())
                    self.assertEqual(upgrade(node).returncode, 0)
                    second = process_of(node)
                    self.assertEqual(manager.recv(4096).decode(), f"MAINPID={second}")
                    self.assertIn(f"READY=1\nMAINPID={second}\n", manager.recv(4096).decode())
                    # Nobody is left to wait for it.
                    self.assertEqual(node.process.wait(60), 0)
                    self.assertEqual(node.get("/hello").text, "hello")
                    os.kill(second, signal.SIGTERM)
                    self.assertEqual(manager.recv(4096).decode(), "STOPPING=1")
                    wait_until(lambda: not is_alive(second), 40, "the end of the node")


class Unit(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd")
    def test_the_unit_is_one_that_systemd_reads(self):
        with open(os.path.join(ROOT, "environments", "systemd", "edge.service")) as file:
            text = file.read()
        with tempfile.TemporaryDirectory() as directory:
            unit = os.path.join(directory, "edge.service")
            with open(unit, "w") as file:
                file.write(text.replace("/opt/edge/bin/edge", product("edge")))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_its_commands_are_ones_that_edge_knows(self):
        with open(os.path.join(ROOT, "environments", "systemd", "edge.service")) as file:
            lines = dict(line.strip().split("=", 1) for line in file if "=" in line and not line.startswith("#"))
        for key in ("ExecStart", "ExecReload"):
            words = lines[key].split()[1:]
            known = edge(words[0], "--help").stdout
            for word in words:
                if word.startswith("--"):
                    self.assertIn(word, known, key)


if __name__ == "__main__":
    unittest.main()
