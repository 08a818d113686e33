"""Typed calls between services (spec: runtime, section 2: service bindings, RPC)."""

import os
import unittest

from objects import HOST, Failed, Objects
from projects import Project
from raw_websocket import TEXT, RawWebSocket

CALLER = """\
format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.objects]
product = "ObjectWorker"
isolates = { min = 1, max = 1 }
[workers.caller]
product = "ObjectWorker"
routes = ["objects.localhost/*"]
services = [
    { binding = "PLAIN", worker = "objects" },
    { binding = "NAMED", worker = "objects", entrypoint = "Admin", props = { who = "caller" } },
    { binding = "TOLD", worker = "objects", props = { who = "caller" } },
    { binding = "FETCHER", worker = "objects", entrypoint = "Fetcher" },
    { binding = "MUTE", worker = "objects", entrypoint = "Mute" },
]
"""


class Caller(Objects):
    def __init__(self):
        self.project = Project(shape=CALLER)
        self.node = None


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.caller = cls.enterClassContext(Caller())

    def get(self, path):
        return self.caller.get("/rpc/" + path)

    def failure(self, path):
        with self.assertRaises(Failed) as caught:
            self.get(path)
        return caught.exception.failure

    def test_values_and_props(self):
        self.assertEqual(self.get("PLAIN/greet/Ada"), "hello, Ada true ")
        self.assertEqual(self.get("TOLD/greet/Ada"), 'hello, Ada true {"who":"caller"}')
        self.assertEqual(self.get("NAMED/greet/Ada"), 'admin Ada true {"who":"caller"}')

    def test_errors_keep_their_type(self):
        failure = self.failure("PLAIN/fail")
        self.assertEqual((failure["name"], failure["message"], failure["remote"]), ("NotToday", "no greetings today", True))
        self.assertEqual(
            self.failure("NAMED/missing")["message"], 'The RPC receiver does not implement the method "missing".')

    def test_requests_reach_a_named_entrypoint(self):
        self.assertEqual(self.get("NAMED/fetch/some/path"), 'GET /some/path for {"who":"caller"}')
        self.assertEqual(self.get("FETCHER/fetch/x"), "fetched")
        failure = self.failure("NAMED/fetch/throw")
        self.assertEqual((failure["name"], failure["message"]), ("NotToday", "no greetings today"))
        self.assertIn("does not export a fetch() function", self.failure("MUTE/fetch/x")["message"])
        self.assertIn("does not implement the method", self.failure("FETCHER/missing")["message"])
        # Sent through both workers, and back, without being read: it outlives the calls that it went by.
        for size in (16_000, 70_000, 1 << 20, 8 << 20):
            body = os.urandom(size)
            answer = self.caller.node.request("POST", "/rpc/NAMED/fetch/echo", headers=HOST, body=body)
            self.assertEqual((answer.status, len(answer.body), answer.body == body), (200, size, True))
        url = self.caller.node.url + "/rpc/NAMED/fetch/socket"
        with RawWebSocket(url, host="objects.localhost", protocol=None, timeout=60) as client:
            client.send(TEXT, b"hello")
            self.assertEqual(client.receive_message(), (TEXT, b"hello"))

    def test_small_and_large(self):
        for count in (0, 1, 1 << 20, (1 << 20) + 1, 20 << 20):
            self.assertEqual(self.get(f"PLAIN/length/{count}"), str(count))
            self.assertEqual(self.get(f"PLAIN/bytes/{count}"), str(count))
        for path in ("length", "bytes"):
            self.assertIn("limited to 32MiB", self.failure(f"PLAIN/{path}/{33 << 20}")["message"])

    def test_streams_both_ways(self):
        self.assertEqual(self.get("PLAIN/upper/text"), "4 TEXT")

    def test_a_call_that_is_given_up_is_cancelled_there(self):
        self.assertEqual(self.get("PLAIN/cancel/one"), "cancelled here, and there")

    def test_an_entrypoint_that_is_missing_is_found_at_the_start(self):
        with Project(shape=CALLER.replace('"Admin"', '"Nobody"')) as project:
            with self.assertRaises(Exception) as caught:
                project.dev("--no-log-requests", deadline=30).__enter__()
            self.assertIn("Nobody", str(caught.exception))
