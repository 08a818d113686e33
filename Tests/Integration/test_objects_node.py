"""What the node does for durable objects: large messages (spec: durable-objects, section 5), and what it tells of their events."""

import contextlib
import re
import unittest

from harness import wait_until
from objects import Failed, Objects
from raw_websocket import BINARY, TEXT, RawWebSocket
from test_tail import API, event

MESSAGE_MAX = 32 << 20


class Sockets(unittest.TestCase):
    seconds = 30

    @classmethod
    def setUpClass(cls):
        cls.objects = cls.enterClassContext(Objects())

    def socket(self, name):
        url = self.objects.node.url + f"/name/PROBES/{name}/socket"
        return RawWebSocket(url, host="objects.localhost", protocol=None, timeout=60)

    def test_probe_22_a_message_that_is_too_large_closes_the_socket(self):
        with self.socket("large") as client:
            for count in (64 << 10, (64 << 10) + 1, 5 << 20):
                client.send(BINARY, b"x" * count)
                kind, message = client.receive_message()
                self.assertEqual((kind, len(message)), (BINARY, count))
            with contextlib.suppress(OSError):
                client.send(BINARY, b"x" * (MESSAGE_MAX + 1))
            self.assertEqual(client.close_code()[0], 1009)


class Tails(unittest.TestCase):
    """Events that no client sent: what durable objects and entrypoints get."""

    seconds = 20

    @classmethod
    def setUpClass(cls):
        cls.objects = Objects().start("--log-requests")
        cls.addClassCleanup(cls.objects.__exit__)
        cls.api = API(cls.objects.node, account="t")

    def events(self, tail, count):
        return [event(tail) for _ in range(count)]

    def test_a_request_and_what_it_has_an_object_do_are_one_trace(self):
        trace = "0123456789abcdef0123456789abcdef"
        with self.api.follow(worker="objects") as tail:
            answer = self.objects.node.get(
                "/name/PROBES/traced/value",
                headers={"Host": "objects.localhost", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
            self.assertEqual(answer.status, 200)
            seen = self.events(tail, 2)
        of_object = next(one for one in seen if one["executionModel"] == "durableObject")
        request = next(one for one in seen if one is not of_object)
        self.assertEqual(of_object["entrypoint"], "Probe")
        self.assertEqual(of_object["durableObjectId"], self.objects.probe("traced", "id"))
        self.assertTrue(of_object["event"]["request"]["url"].endswith("/value"))
        self.assertEqual((request["traceId"], request["spanId"]), (trace, "00f067aa0ba902b7"))
        self.assertEqual((of_object["traceId"], of_object["parentSpanId"]), (trace, request["spanId"]))

    def test_alarms_and_what_they_throw(self):
        with self.api.follow({"outcome": ["exception"]}, worker="objects") as tail:
            self.objects.probe("alarmed", "set-alarm?in=1&plan=throw-once")
            seen = event(tail)
        self.assertIn("scheduledTime", seen["event"])
        self.assertIn("the alarm fails once", seen["exceptions"][0]["message"])

    def test_they_are_logged_and_counted(self):
        with self.assertRaises(Failed):
            self.objects.probe("counted", "throw")
        id = self.objects.probe("counted", "id")
        self.objects.get("/order/PROBES/counted/1")
        metrics = self.objects.node.get("/metrics", port=self.objects.node.control_port).text
        counts = {
            name: int(re.search(rf'^edge_release_{name}_total{{tenant="t".*}} (\d+)$', metrics, re.MULTILINE)[1])
            for name in ("calls", "call_errors")}
        self.assertGreaterEqual(counts["calls"], 4)
        self.assertGreaterEqual(counts["call_errors"], 1)

        def line(*parts):
            return any(all(part in line for part in parts) for line in self.objects.node.log_text().splitlines())

        wait_until(lambda: line("Probe.note()", f"object={id}", "outcome=ok", "class=Probe", "worker=objects"))
        wait_until(lambda: line("Probe.GET http://object/throw", f"object={id}", "outcome=exception", "as asked"))

    def test_typed_calls_and_messages_of_sockets(self):
        with self.api.follow(worker="objects") as tail:
            self.objects.get("/order/PROBES/called/2")
            seen = self.events(tail, 4)
            self.assertEqual(
                sorted(one["event"].get("rpcMethod", "") for one in seen), ["", "note", "note", "notes"])
        with self.api.follow(worker="objects") as tail:
            url = self.objects.node.url + "/name/PROBES/heard/socket"
            with RawWebSocket(url, host="objects.localhost", protocol=None, timeout=60) as client:
                client.send(TEXT, b"hello")
                client.receive_message()
            wait_until(lambda: event(tail)["event"].get("getWebSocketEvent") == {"webSocketEventType": "message"})
            wait_until(lambda: event(tail)["event"].get("getWebSocketEvent", {}).get("webSocketEventType") == "close")


if __name__ == "__main__":
    unittest.main()
