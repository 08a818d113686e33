"""Live tails with the official SDK and the `websockets` library (spec control-plane, section 7)."""

import asyncio
import json
import os
import unittest

import cloudflare
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness import Node, product

PROTOCOL = ["trace-v1"]


class Tails(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            cls.client = cloudflare.Cloudflare(
                api_token=file.read().strip(), base_url=cls.node.control + "/client/v4")
        cls.account = next(iter(cls.client.accounts.list())).id
        cls.tails = cls.client.workers.scripts.tail

    def make(self, *filters):
        # Without filters, the SDK sends no body at all.
        body = {"filters": list(filters)} if filters else None
        return self.tails.create("hello-worker", account_id=self.account, extra_body=body)

    def follow(self, *filters):
        """A tail that sees everything from here on."""
        socket = connect(self.make(*filters).url, subprotocols=PROTOCOL)
        socket.send('{"debug":false}')
        socket.ping().wait(10)
        return socket

    def test_probe_20_a_request_is_one_event_with_its_logs_in_order(self):
        with self.follow() as socket:
            self.assertEqual(socket.subprotocol, "trace-v1")
            self.assertEqual(self.node.get("/log/5").text, "logged")
            event = json.loads(socket.recv(timeout=10))
        self.assertEqual(event["outcome"], "ok")
        self.assertTrue(event["event"]["request"]["url"].endswith("/log/5"))
        self.assertEqual([log["message"][1]["number"] for log in event["logs"]], list("01234"))

    def test_probe_20_a_filter_suppresses_it(self):
        with self.follow({"outcome": ["exception"]}) as socket:
            self.node.get("/hello")
            self.node.get("/error")
            self.assertEqual(json.loads(socket.recv(timeout=10))["outcome"], "exception")

    def test_probe_20_without_the_subprotocol_it_is_refused(self):
        tail = self.make()
        with self.assertRaises(InvalidStatus) as caught:
            connect(tail.url)
        self.assertEqual(caught.exception.response.status_code, 400)
        self.tails.delete(tail.id, script_name="hello-worker", account_id=self.account)

    def test_the_sdk_finds_and_deletes_a_tail(self):
        tail = self.make()
        self.assertEqual(self.tails.get("hello-worker", account_id=self.account).id, tail.id)
        with connect(tail.url, subprotocols=PROTOCOL) as socket:
            self.tails.delete(tail.id, script_name="hello-worker", account_id=self.account)
            with self.assertRaises(ConnectionClosed) as caught:
                socket.recv(timeout=10)
            self.assertEqual((caught.exception.rcvd.code, caught.exception.rcvd.reason), (1000, "the tail was deleted"))
        self.assertNotEqual(getattr(self.tails.get("hello-worker", account_id=self.account), "id", None), tail.id)
        with self.assertRaises(cloudflare.NotFoundError):
            self.tails.delete(tail.id, script_name="hello-worker", account_id=self.account)
        with self.assertRaises(cloudflare.NotFoundError) as caught:
            self.tails.create("nope", account_id=self.account)
        self.assertEqual(caught.exception.errors[0].code, 10007)

    def test_ten_clients_see_all_of_one_worker(self):
        async def follow():
            sockets = [await connect_async(self.make().url, subprotocols=PROTOCOL) for _ in range(10)]
            for socket in sockets:
                await asyncio.wait_for(await socket.ping(), 10)
            for number in range(20):
                self.node.get(f"/log/1?{number}")
            seen = []
            for socket in sockets:
                urls = [json.loads(await asyncio.wait_for(socket.recv(), 10))["event"]["request"]["url"] for _ in range(20)]
                seen.append([int(url.split("?")[1]) for url in urls])
                await socket.close()
            return seen

        self.assertEqual(asyncio.run(follow()), [list(range(20))] * 10)

    def test_a_client_that_closes_gets_its_code_back(self):
        socket = connect(self.make().url, subprotocols=PROTOCOL)
        socket.close(3001, "enough")
        self.assertEqual(socket.close_code, 3001)

    def test_messages_are_compressed_for_those_who_ask_for_it(self):
        with self.follow() as squeezed, connect(self.make().url, subprotocols=PROTOCOL, compression=None) as plain:
            plain.ping().wait(10)
            self.assertEqual(
                squeezed.response.headers["Sec-WebSocket-Extensions"],
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
            self.assertNotIn("Sec-WebSocket-Extensions", plain.response.headers)
            for _ in range(3):
                self.node.get("/log/1000")
                both = [json.loads(socket.recv(timeout=10)) for socket in (squeezed, plain)]
                self.assertEqual(both[0], both[1])
                self.assertEqual(len(both[0]["logs"]), 1000)
            # The other way round: compressed messages, also in pieces.
            squeezed.send('{"filters":[{"outcome":["exception"]}],"x":"' + "y" * 5000 + '"}')
            squeezed.ping().wait(10)
            self.node.get("/hello")
            self.node.get("/error")
            self.assertEqual(json.loads(squeezed.recv(timeout=10))["outcome"], "exception")
            # A kilobyte that would become a megabyte.
            squeezed.send("x" * (1 << 20))
            with self.assertRaises(ConnectionClosed) as caught:
                squeezed.recv(timeout=10)
            self.assertEqual(caught.exception.rcvd.code, 1009)

    def test_large_and_fragmented_messages(self):
        with self.follow() as socket:
            socket.send(iter(['{"debug"', ":", "false}"]))
            socket.send("x" * 65536)
            socket.ping().wait(10)
            socket.send("x" * 65537)
            with self.assertRaises(ConnectionClosed) as caught:
                socket.recv(timeout=10)
            self.assertEqual((caught.exception.rcvd.code, caught.exception.rcvd.reason), (
                1009, "Message is too large: 65537 > 65536"))

    def test_a_large_message_is_refused_by_its_length(self):
        with connect(self.make().url, subprotocols=PROTOCOL, compression=None) as socket:
            socket.send("x" * 65536)
            socket.ping().wait(10)
            socket.send("x" * 70000)
            with self.assertRaises(ConnectionClosed) as caught:
                socket.recv(timeout=10)
            self.assertEqual((caught.exception.rcvd.code, caught.exception.rcvd.reason), (
                1009, "Message is too large: 70000 > 65536"))


if __name__ == "__main__":
    unittest.main()
