"""A worker that attacks: each attack is contained and reported, and a neighbour on the same node goes on answering."""

import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

from harness import Node, edge, is_alive, product, wait_until
from load import Neighbour, Requester, in_threads

NEIGHBOUR = "neighbour.localhost"


class Attacks(unittest.TestCase):
    seconds = 40

    @classmethod
    def setUpClass(cls):
        cls.node = Node(
            "run", product("HostileWorker"), "--worker", f"{NEIGHBOUR}={product('HelloWorker')}", "--cpu", "1s",
            "--memory", "64MiB", "--no-log-requests").start()
        cls.addClassCleanup(cls.node.__exit__)

    def setUp(self):
        self.log_start = len(self.node.log_text())
        self.neighbour = Neighbour(self.node.port, NEIGHBOUR)
        self.neighbour.__enter__()

    def tearDown(self):
        # Whatever was done to it, the hostile worker itself answers again too.
        wait_until(lambda: self.node.get("/hello").status == 200, 30,
                   lambda: "the worker's next answer:\n" + self.log[-3000:])
        answers = self.neighbour.answers
        wait_until(lambda: self.neighbour.answers > answers + 5, 20, "the neighbour's next answers")
        self.neighbour.__exit__()
        self.assertEqual(self.neighbour.failures, [])
        self.assertLess(self.neighbour.slowest, 10)
        self.assertIsNone(self.node.process.poll(), "the node has ended")

    @property
    def log(self):
        return self.node.log_text()[self.log_start:]

    def attack(self, path, argument=None):
        """POST: a request that isn't safe is never tried a second time."""
        query = f"?argument={argument}" if argument is not None else ""
        return self.node.request("POST", path + query, body=b"x")

    def expect_log(self, pattern):
        """The line that names the limit must name worker and version as well."""
        full = re.compile(pattern + r".*worker=hostile-worker version=\S+")
        wait_until(lambda: full.search(self.log), 20, lambda: f"{pattern} in the log:\n{self.log[-3000:]}")

    def expect_limit(self, answer):
        self.assertEqual(answer.status, 503, answer.text)
        self.assertIn("error code: 1102", answer.text)
        self.assertEqual(answer.header("Retry-After"), "1")

    def expect_crash(self, answer):
        self.assertEqual(answer.status, 500, answer.text)
        self.assertIn("error code: 1101", answer.text)

    def expect_refusal(self, answer):
        self.assertEqual(answer.status, 200, answer.text)
        self.assertRegex(answer.text, r"^refused \d+$")

    # Limits

    def test_infinite_loop(self):
        self.expect_limit(self.attack("/loop"))
        self.expect_log(r"used \d+ ms of CPU time in the event on channel \d+, stream \d+, of 1000 ms allowed")

    def test_loop_in_slices(self):
        # The watchdog ends the isolate, or the SDK the event, whoever sees it first.
        self.expect_limit(self.attack("/slices"))
        self.expect_log(r"event ended without an answer: Worker exceeded CPU time limit\.")
        self.assertRegex(self.log, r'event="channel \d+, stream \d+" limit="1000 ms of CPU time"')

    def test_memory_balloon(self):
        self.expect_limit(self.attack("/balloon"))
        self.expect_log(rf"used \d+ bytes of memory, of {64 << 20} allowed")

    def test_threads(self):
        # Its memory limit counts their stacks and refuses them first; else the watchdog ends it.
        answer = self.attack("/threads")
        if answer.status != 200 or int(answer.text.removeprefix("started ")) > 60:
            self.expect_log(r"ran \d+ threads, of 64 allowed")

    def test_deep_recursion(self):
        self.expect_crash(self.attack("/recursion"))
        self.expect_log(r"crashed with signal 11")

    def test_descriptors(self):
        answer = self.attack("/descriptors")
        self.assertEqual(answer.status, 200, answer.text)
        self.assertLess(int(answer.text.removeprefix("got ")), 1024)

    # The sandbox

    def test_fork(self):
        self.expect_refusal(self.attack("/fork"))

    def test_exec(self):
        self.expect_refusal(self.attack("/exec"))

    def test_socket(self):
        self.expect_refusal(self.attack("/socket"))

    def test_open_files_of_others(self):
        findings = json.loads(edge("doctor", "--json").stdout)["findings"]
        if {"landlock": "active"} not in [{f["layer"]: f["state"]} for f in findings]:
            self.skipTest("this kernel has no Landlock: isolates may read what every user may")
        paths = ["/etc/passwd", "/etc/hostname", f"/proc/{self.node.process.pid}/environ", "/proc/1/environ", "/dev/mem",
                 self.node.state, *self.files_in(self.node.state)]
        self.assertGreater(len(paths), 8)
        for path in paths:
            with self.subTest(path=path):
                self.expect_refusal(self.attack("/open", path))

    def test_write_files(self):
        victims = [*self.files_in(self.node.state), "/tmp/edge-hostile-was-here", "/dev/shm/edge-hostile-was-here",
                   os.path.join(self.node.state, "new")]
        for path in victims:
            with self.subTest(path=path):
                self.expect_refusal(self.attack("/write", path))
        for path in victims[-3:]:
            self.assertFalse(os.path.exists(path))

    def files_in(self, directory):
        return [os.path.join(parent, name) for parent, _, names in os.walk(directory) for name in names]

    def test_signals(self):
        neighbours = next(w for w in self.node.status()["workers"] if w["name"] != "hostile-worker")["pids"]
        for target in [None, self.node.process.pid, -1, *neighbours]:
            with self.subTest(target=target):
                self.expect_refusal(self.attack("/signal", target))
        for pid in neighbours:
            self.assertTrue(is_alive(pid))

    # The channel

    def test_garbage_on_the_channel(self):
        self.expect_crash(self.attack("/garbage"))
        self.expect_log(r"sent a malformed frame: ")

    def test_giant_frame(self):
        self.expect_crash(self.attack("/giant"))
        self.expect_log(r"sent a malformed frame: ")

    def test_unknown_stream(self):
        self.expect_crash(self.attack("/unknown"))
        self.expect_log(r"sent a malformed frame: ")

    def test_deaf(self):
        self.expect_crash(self.attack("/deaf"))
        self.expect_log(
            r"was ended: does not respond \(it has not answered a health event; "
            r"it runs the event on channel \d+, stream \d+\)")

    # Floods

    def test_flood_of_logs(self):
        answer = self.attack("/logs")
        self.assertEqual((answer.status, answer.text), (200, "logged"))
        wait_until(lambda: "log truncated" in self.log, 20, "the truncated log")
        self.assertLess(len(self.log), 4 << 20)

    def test_flood_on_standard_error(self):
        answer = self.attack("/stderr")
        self.assertEqual((answer.status, answer.text), (200, "written"))
        wait_until(lambda: "some of it is lost" in self.log, 20, "the note about lost output")
        self.assertLess(len(self.log), 4 << 20)

    # Ends

    def test_exit(self):
        self.expect_crash(self.attack("/exit"))
        self.expect_log(r"exited with code 3")

    def test_trap(self):
        self.expect_crash(self.attack("/trap"))
        self.expect_log(r"crashed with signal \d+")

    def test_crash_after_crash(self):
        # Poison in a row backs the worker off for a moment, not for minutes: others' requests wait it out.
        for _ in range(8):
            self.expect_crash(self.attack("/exit"))
        self.expect_log(r"isolates (failed within a minute|go on failing): the next one starts in")
        # An event waits for a place for 30 seconds at most: then it would be refused.
        self.assertEqual(self.node.get("/hello").status, 200)

    def test_safe_request_is_tried_once_more(self):
        retried = self.node.status()["retried"]
        self.expect_crash(self.node.get("/exit"))
        self.assertEqual(self.node.status()["retried"], retried + 1)

    def test_memory_of_the_node_stays_bounded(self):
        with open(f"/proc/{self.node.process.pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        self.assertLess(resident, 512 << 10)


class Fuzzing(unittest.TestCase):
    """Frames that are nearly right, to a node that has something to lose. EDGE_SEED and EDGE_FUZZ_SECONDS widen it."""

    def test_nearly_right_frames(self):
        seed = int(os.environ.get("EDGE_SEED", 1))
        seconds = float(os.environ.get("EDGE_FUZZ_SECONDS", 10))
        with Node(
                "run", product("HostileWorker"), "--kv", "KV", "--d1", "DB", "--r2", "R2=bucket", "--queue", "QUEUE=jobs",
                "--service", f"SERVICE={product('HelloWorker')}", "--worker", f"{NEIGHBOUR}={product('HelloWorker')}",
                "--isolates", "4", "--no-log-requests") as node:
            end = time.monotonic() + seconds
            outcomes = {}

            def attack(lane):
                requester = Requester(node.port, timeout=40)
                number = 0
                while time.monotonic() < end:
                    number += 1
                    try:
                        outcome, _ = requester.request("POST", f"/fuzz?argument={seed * 1_000_000 + lane * 10_000 + number}")
                    except (ConnectionError, http.client.HTTPException):
                        outcome = "broken"
                    outcomes[outcome] = outcomes.get(outcome, 0) + 1
                requester.close()

            with Neighbour(node.port, NEIGHBOUR) as neighbour:
                in_threads(4, attack)
            what = f"seed {seed}: {outcomes}"
            self.assertIsNone(node.process.poll(), what)
            self.assertEqual(neighbour.failures, [], what)
            self.assertGreater(sum(outcomes.values()), 4, what)
            wait_until(lambda: node.get("/hello").status == 200, 40, "the worker's next answer")
            self.assertEqual(node.stop(), 0, what)


class StartFailures(unittest.TestCase):
    def test_worker_that_ends_at_once(self):
        for executable, reason in [("/bin/true", "exited with code 0"), ("/bin/false", "exited with code 1")]:
            with self.subTest(executable=executable), tempfile.TemporaryDirectory() as state:
                result = edge("run", executable, "--listen", "127.0.0.1:0", "--state", state, timeout=60)
                self.assertNotEqual(result.returncode, 0)
                self.assertNotIn("ready ", result.stdout)
                self.assertIn(reason, result.stderr)

    def test_worker_that_is_no_executable(self):
        with tempfile.TemporaryDirectory() as state:
            path = os.path.join(state, "worker")
            for content in [b"", b"#!/bin/sh\nexec sleep 100\n", b"\x7fELF garbage"]:
                with open(path, "wb") as file:
                    file.write(content)
                os.chmod(path, 0o755)
                result = edge("run", path, "--listen", "127.0.0.1:0", "--state", state + "/state", timeout=60)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(path, result.stderr)


class Orphans(unittest.TestCase):
    """Isolates end with their node, whatever ends it."""

    seconds = 29

    def processes_of(self, state):
        """All processes below a node: those whose parent it is."""
        pids = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat") as stat:
                    if int(stat.read().rsplit(")", 1)[1].split()[1]) == state:
                        pids.append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
        return pids

    def expect_gone(self, pids):
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 2, f"the end of {pids}")

    def test_killed_under_load(self):
        for round in range(4):
            with self.subTest(round=round), Node(
                    "run", product("HelloWorker"), "--worker", f"other.localhost={product('HostileWorker')}",
                    "--isolates", "3", "--no-log-requests") as node:
                ends = []

                def ask(number):
                    requester = Requester(node.port)
                    try:
                        while not ends:
                            requester.request("GET", "/hello")
                    except Exception:
                        pass

                def kill(number):
                    if number:
                        return ask(number)
                    # A sleeping and a computing event hold isolates that won't look at their channels.
                    for path in [b"/deaf", b"/loop"]:
                        connection = node.connect()
                        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: other.localhost\r\n\r\n")
                        self.addCleanup(connection.close)
                    time.sleep(0.1 + 0.15 * round)
                    pids.extend(self.processes_of(node.process.pid))
                    node.kill()
                    ends.append(True)

                pids = []
                in_threads(4, kill)
                self.assertGreaterEqual(len(pids), 6)
                self.expect_gone(pids)

    def test_killed_while_spawning(self):
        # The node dies at different moments of its own start.
        seen = 0
        for step in range(12):
            with tempfile.TemporaryDirectory() as state:
                process = subprocess.Popen(
                    [product("edge"), "run", product("HelloWorker"), "--isolates", "16", "--listen", "127.0.0.1:0",
                     "--control", "127.0.0.1:0", "--state", state], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                deadline = time.monotonic() + 10
                pids = []
                while len(pids) <= step and time.monotonic() < deadline and process.poll() is None:
                    pids = self.processes_of(process.pid)
                process.kill()
                # Between the look and the kill more may have come: they have no parent any more, but a name.
                process.wait()
                seen += len(pids)
                self.expect_gone(pids)
        wait_until(lambda: not self.orphans(), 2, f"the end of {self.orphans()}")
        self.assertGreater(seen, 12)

    def orphans(self):
        """Isolates whose node is gone: init or a reaper has become their parent."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    command = file.read()
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{parent}/comm") as file:
                    of_a_node = file.read().strip() == "edge"
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"--edge-isolate=" in command and command.startswith(b"hello-worker") and not of_a_node:
                found.append(int(name))
        return found

    def test_isolates_end_with_a_drained_node(self):
        with Node("run", product("HelloWorker"), "--isolates", "3") as node:
            wait_until(lambda: len(node.isolate_pids()) == 3, 20, "three isolates")
            pids = node.isolate_pids()
            self.assertEqual(node.stop(), 0)
            self.expect_gone(pids)


class Drain(unittest.TestCase):
    def setUp(self):
        self.node = Node("run", product("HelloWorker")).start()
        self.addCleanup(self.node.__exit__)

    def begin(self, path):
        connection = self.node.connect(timeout=30)
        self.addCleanup(connection.close)
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)  # It must be in flight; a drain that comes first would refuse it.
        return connection

    def refuses_connections(self):
        try:
            self.node.connect().close()
            return False
        except ConnectionRefusedError:
            return True

    def test_sigterm_finishes_what_is_open(self):
        connection = self.begin(b"/sleep/2000")
        self.node.process.send_signal(signal.SIGTERM)
        wait_until(self.refuses_connections, 5, "the closed listener")
        self.assertIsNone(self.node.process.poll())
        answer = connection.recv(65536)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
        self.assertIn(b"slept", answer)
        self.assertEqual(self.node.process.wait(20), 0)

    def test_idle_connections_do_not_hold_the_drain(self):
        connections = [self.node.connect() for _ in range(10)]
        for connection in connections:
            self.addCleanup(connection.close)
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"hello", connection.recv(65536))
        self.assertEqual(self.node.stop(seconds=20), 0)

    def test_background_work_goes_on_while_draining(self):
        self.assertEqual(self.node.get("/later/1500").text, "later")
        self.assertEqual(self.node.stop(), 0)
        self.assertRegex(self.node.log_text(), r"info later")

    def test_second_signal_ends_at_once(self):
        pids = self.node.isolate_pids()
        self.begin(b"/sleep/20000")
        self.node.process.send_signal(signal.SIGINT)
        self.node.wait_for_log("draining")
        time.sleep(0.2)
        self.assertIsNone(self.node.process.poll())
        self.node.process.send_signal(signal.SIGINT)
        self.assertEqual(self.node.process.wait(5), 130)
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 2, "the isolates' end")


if __name__ == "__main__":
    unittest.main()
