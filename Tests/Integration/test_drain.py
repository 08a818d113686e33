"""A node going out of service: readiness first, then what connections are told, then their end."""

import http.client
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from harness import Node, edge, product, wait_until

READY = "/__edge/health/ready"
LIVE = "/__edge/health/live"


def node(*arguments, **keywords):
    return Node("run", product("HelloWorker"), *arguments, **keywords)


class Readiness(unittest.TestCase):
    def test_says_why_as_text_and_as_json(self):
        with node() as it:
            self.assertEqual((it.get(READY).status, it.get(READY).text), (200, "ready\n"))
            self.assertEqual(it.get(READY).header("cache-control"), "no-store")
            self.assertEqual(it.get(READY, headers={"accept": "application/json"}).json(), {"status": "ready", "reasons": []})
            self.assertEqual(edge("node", "drain", "--state", it.state).returncode, 0)
            public = it.get(READY)
            self.assertEqual((public.status, public.text), (503, "not ready\ndraining\n"))
            own = it.get(READY, headers={"accept": "application/json"}, port=it.control_port)
            self.assertEqual(own.status, 503)
            self.assertEqual([reason["code"] for reason in own.json()["reasons"]], ["draining"])
            self.assertIn("draining: ", it.get(READY, port=it.control_port).text)
            # It lives all the same.
            self.assertEqual(it.get(LIVE).text, "live\n")
            self.assertEqual(it.get(LIVE, port=it.control_port).text, "live\n")
            self.assertTrue(it.status()["draining"])

    def test_fails_while_the_disk_is_nearly_full(self):
        with tempfile.TemporaryDirectory(prefix="edge-full-") as directory:
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "none", directory], capture_output=True).returncode:
                self.skipTest("no file system can be mounted here")
            try:
                with node(state=os.path.join(directory, "state")) as it:
                    self.assertEqual(it.get(READY).status, 200)
                    left = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
                    with open(os.path.join(directory, "filler"), "wb") as filler:
                        filler.write(bytes(left - (2 << 20)))
                    wait_until(lambda: it.get(READY).text == "not ready\ndisk\n", 30, lambda: it.get(READY).text)
                    self.assertIn("MiB are free at", it.get(READY, port=it.control_port).text)
                    # Nobody who comes is turned away.
                    self.assertEqual(it.get("/hello").text, "hello")
                    os.unlink(os.path.join(directory, "filler"))
                    wait_until(lambda: it.get(READY).status == 200, 30, "readiness")
            finally:
                subprocess.run(["umount", directory], check=True)


class Ending(unittest.TestCase):
    seconds = 15

    def test_readiness_fails_first_while_everything_is_served(self):
        with node("--drain-delay", "10m") as it:
            connection = http.client.HTTPConnection("127.0.0.1", it.port, timeout=30)
            it.process.send_signal(signal.SIGTERM)
            wait_until(lambda: it.get(READY).status == 503, 20, "the end of readiness")
            for _ in range(3):
                connection.request("GET", "/hello")
                answer = connection.getresponse()
                self.assertEqual((answer.status, answer.read(), answer.getheader("connection")), (200, b"hello", None))
            self.assertEqual(it.get("/hello").status, 200, "a new connection")
            # The second signal ends it at once.
            it.process.send_signal(signal.SIGTERM)
            self.assertEqual(it.process.wait(20), 130)

    def test_connections_are_told_before_the_listener_stops(self):
        with node("--drain-delay", "2s") as it:
            told = threading.Event()
            failures = []

            def ask():
                connection = http.client.HTTPConnection("127.0.0.1", it.port, timeout=30)
                while not told.is_set():
                    try:
                        connection.request("GET", "/hello")
                        answer = connection.getresponse()
                        if answer.read() != b"hello":
                            failures.append(answer.status)
                        if answer.getheader("connection") == "close":
                            told.set()
                    except Exception as error:
                        failures.append(repr(error))
                        told.set()
                    time.sleep(0.01)

            slow = []
            asking = [threading.Thread(target=ask),
                      threading.Thread(target=lambda: slow.append(it.get("/sleep/8000").text))]
            for thread in asking:
                thread.start()
            wait_until(lambda: any(worker["isolates"] for worker in it.status()["workers"]), 20, "an isolate")
            wait_until(lambda: self.report(it)["open_requests"] >= 1, 20, "the slow request")
            it.process.send_signal(signal.SIGTERM)
            for thread in asking:
                thread.join(60)
            self.assertEqual(failures, [])
            self.assertTrue(told.is_set())
            self.assertEqual(slow, ["slept"], "a request that was open is finished")
            self.assertEqual(it.process.wait(40), 0)

    def report(self, it):
        done = edge("node", "status", "--json", "--state", it.state)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)


class DrainCommand(unittest.TestCase):
    def run_edge(self, it, *arguments, code=0):
        done = edge("node", *arguments, "--state", it.state)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def test_takes_the_node_out_of_service_and_back(self):
        with node() as it:
            self.assertRegex(self.run_edge(it, "status"), r"^serving: 0 open requests, \d+ connections?\n$")
            report = json.loads(self.run_edge(it, "drain", "--wait", "--json"))
            self.assertEqual((report["state"], report["open_requests"], report["delay_seconds"]), ("drained", 0, 0))
            self.assertRegex(report["since"], r"^\d{4}-\d\d-\d\dT")
            # Who comes nevertheless is served, and told to go.
            answer = it.get("/hello")
            self.assertEqual((answer.text, answer.header("connection")), ("hello", "close"))
            self.assertIn("draining", edge("status", "--state", it.state).stdout)
            self.assertRegex(self.run_edge(it, "drain", "--undo"), r"^serving: ")
            self.assertEqual(it.get(READY).status, 200)
            self.assertIsNone(it.get("/hello").header("connection"))

    def test_an_idle_connection_ends_and_one_with_a_request_does_not(self):
        with node() as it:
            idle = http.client.HTTPConnection("127.0.0.1", it.port, timeout=30)
            idle.request("GET", "/hello")
            idle.getresponse().read()
            answers = []
            busy = threading.Thread(target=lambda: answers.append(it.get("/sleep/2000").text))
            busy.start()
            wait_until(lambda: json.loads(self.run_edge(it, "status", "--json"))["open_requests"] == 1, 20, "the request")
            self.run_edge(it, "drain", "--wait")
            self.assertEqual(idle.sock.recv(1), b"", "its end")
            busy.join(30)
            self.assertEqual(answers, ["slept"])

    def test_over_the_api(self):
        with node() as it:
            def ask(method, token=it.operator_token()):
                headers = {"authorization": f"Bearer {token}"}
                return it.request(method, "/client/v4/edge/node/drain", headers=headers, port=it.control_port)

            self.assertEqual(ask("GET").json()["result"]["state"], "serving")
            self.assertEqual(ask("POST").json()["result"]["since"][:2], "20")
            self.assertEqual(ask("POST").status, 200, "again is as good as once")
            self.assertEqual(ask("DELETE").json()["result"]["state"], "serving")
            self.assertEqual(ask("POST", token="0" * 40).status, 401)
        with node("--drain-delay", "10m") as it:
            it.process.send_signal(signal.SIGTERM)
            wait_until(lambda: it.get(READY).status == 503, 20, "the end of readiness")
            done = edge("node", "drain", "--undo", "--state", it.state)
            self.assertEqual(done.returncode, 1)
            self.assertIn("can't be undone", done.stderr)


if __name__ == "__main__":
    unittest.main()
