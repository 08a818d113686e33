"""Places: what one isolate handles at once, who gets the next free one, and that nobody keeps one for nothing."""

import threading
import time
import unittest

from harness import Node, product, wait_until
from projects import Project

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.one]
product = "HelloWorker"
routes = ["{domain}/*"]
services = [{ binding = "SERVICE", worker = "two" }]
kv = [{ binding = "KV", resource = "kv" }]
[workers.two]
product = "HelloWorker"
services = [{ binding = "SERVICE", worker = "one" }]
"""


def project(isolates, more=""):
    return Project(SHAPE, {"dev": f"format = 1\n[defaults]\nisolates = {{ {isolates} }}\n{more}"})


class InBackground:
    """Runs functions at once, and gives what they returned."""

    def __init__(self, *functions):
        self.results = [None] * len(functions)

        def run(index, function):
            self.results[index] = function()
        self.threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
        for thread in self.threads:
            thread.start()

    def wait(self):
        for thread in self.threads:
            thread.join()
        return self.results


class Places(unittest.TestCase):
    seconds = 35

    def node(self, isolates, more=""):
        opened = project(isolates, more)
        self.addCleanup(opened.__exit__)
        node = opened.dev("--no-watch").start()
        self.addCleanup(node.__exit__)
        return node

    def test_calls_between_workers_do_not_wait_for_the_places_that_their_callers_hold(self):
        node = self.node("max = 1, concurrency = 1")
        path = "/" + "service/" * 12 + "hello"
        work = InBackground(*[lambda: node.get(path, host="localhost").text] * 8)
        self.assertEqual(work.wait(), ["hello"] * 8)

    def test_a_small_body_that_trickles_holds_no_place(self):
        node = self.node("max = 1, concurrency = 1")
        with node.connect() as slow:
            slow.sendall(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegun")
            time.sleep(0.2)
            self.assertEqual(node.get("/hello", host="localhost").text, "hello")
            slow.sendall(b"x" * 995)
            self.assertIn(b"1000", slow.recv(4096))

    def test_one_more_isolate_comes_when_all_places_are_taken(self):
        node = self.node("min = 1, max = 3, concurrency = 1")
        work = InBackground(*[lambda: node.get("/sleep/3000", host="localhost").status] * 3)
        pids = lambda: next(worker["pids"] for worker in node.status()["workers"] if worker["name"] == "one")
        wait_until(lambda: len(pids()) == 3, what="three isolates")
        self.assertEqual(work.wait(), [200] * 3)

    def test_a_hung_event_is_ended_beside_others_that_work(self):
        node = self.node("max = 1")
        other = InBackground(lambda: node.get("/sleep/8000", host="localhost").text)
        answer = node.get("/hang", host="localhost")
        self.assertEqual(answer.status, 500)
        self.assertIn("1101", answer.text)
        self.assertTrue(other.threads[0].is_alive(), "the other one is still at work")
        self.assertEqual(other.wait(), ["slept"])

    def test_background_work_of_a_client_that_left_is_done(self):
        node = self.node("max = 1")
        with node.connect() as client:
            client.sendall(b"GET /never-mind/1500/left HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.3)
        wait_until(lambda: node.get("/kv/left", host="localhost").text == "later", what="the key")

    def test_the_time_to_answer_is_not_the_time_that_a_body_takes(self):
        node = self.node("max = 1", 'limits = { wall = "2s" }\n')
        slow = node.get("/sleep/5000", host="localhost")
        self.assertEqual(slow.status, 524)
        with node.connect(30) as reader:
            reader.sendall(b"GET /stream/200 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = 0
            started = time.monotonic()
            while True:
                piece = reader.recv(64 << 10)
                if not piece:
                    break
                received += len(piece)
                if time.monotonic() - started < 4:
                    time.sleep(0.1)
        self.assertGreater(received, 200 << 16)


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node("run", product("HelloWorker"), "--kv", "KV").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()

    def test_memory_that_cannot_be_had_in_one_piece_is_a_broken_limit(self):
        answer = self.node.get("/allocate/1024")
        self.assertEqual((answer.status, "1102" in answer.text), (503, True), answer.text)
        self.assertEqual(self.node.get("/allocate/1").text, str(1 << 20))

    def test_many_large_answers_at_once_all_arrive(self):
        self.node.request("PUT", "/kv/large", body=b"x" * 200_000)
        for _ in range(3):
            self.assertEqual(self.node.get("/kv-many/300/large").text, str(300 * 200_000))


class OwnZone(unittest.TestCase):
    """Requests of a worker to hosts of its own tenant: to what stands behind the routes, never back to them."""

    def test_a_custom_domain_is_reached_and_a_route_is_not(self):
        shape = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.front]
product = "HelloWorker"
routes = ["{domain}/fetch*", "bare.localhost/fetch*"]
[workers.back]
product = "HelloWorker"
routes = [{ host = "{domain}" }]
"""
        with Project(shape, {"dev": "format = 1\n"}) as opened, opened.dev("--no-watch") as node:
            self.assertEqual(node.get("/fetch?url=http://localhost/hello", host="localhost").text, "hello")
            self.assertIn("1042", node.get("/fetch?url=http://bare.localhost/hello", host="bare.localhost").text)


if __name__ == "__main__":
    unittest.main()
