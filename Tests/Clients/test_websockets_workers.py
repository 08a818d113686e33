"""WebSockets that workers handle, with the libraries `websockets` and `wsproto` (spec runtime 2, durable-objects 5)."""

import asyncio
import os
import socket
import unittest

from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from wsproto import ConnectionType, WSConnection
from wsproto.events import (AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage)
from wsproto.extensions import PerMessageDeflate

from harness import Node, product


class Libraries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests"))
        cls.origin = cls.node.url.replace("http", "ws", 1)

    def test_messages_come_back(self):
        for compression in ("deflate", None):
            with self.subTest(compression=compression), connect(
                    self.origin + "/ws/echo", compression=compression, max_size=None) as ws:
                for message in ("", "größer", "x" * 70_000, b"", os.urandom(70_000), "line " * 100_000, bytes(1 << 20)):
                    ws.send(message)
                    self.assertTrue(ws.recv(timeout=60) == message)
                ws.send(iter(["in ", "three ", "pieces"]))
                self.assertEqual(ws.recv(timeout=60), "in three pieces")
                self.assertTrue(ws.ping().wait(60))
                ws.close(4001, "x")
            self.assertEqual((ws.close_code, ws.close_reason), (4001, ""))

    def test_a_pair_greets_first(self):
        with connect(self.origin + "/ws/pair") as ws:
            self.assertEqual(ws.recv(timeout=60), "hello")
            ws.send("again")
            self.assertEqual(ws.recv(timeout=60), "again")

    def test_the_worker_closes(self):
        for text, code, reason in (("close", 1005, ""), ("close 1000", 1000, ""), ("close 3000 because", 3000, "because"),
                                   ("throw", 1011, "the worker failed")):
            with self.subTest(text=text), connect(self.origin + "/ws/echo") as ws:
                ws.send(text)
                with self.assertRaises(ConnectionClosed) as caught:
                    ws.recv(timeout=60)
                received = caught.exception.rcvd
                self.assertEqual((received.code, received.reason), (code, reason))

    def test_a_protocol_is_chosen(self):
        with connect(self.origin + "/ws/protocol", subprotocols=["other", "chat"]) as ws:
            self.assertEqual(ws.subprotocol, "chat")
            self.assertEqual(ws.response.headers["Set-Cookie"], "a=1")
        # One that the client doesn't offer would end the connection.
        with connect(self.origin + "/ws/protocol") as ws:
            self.assertIsNone(ws.subprotocol)

    def test_a_request_that_is_answered_otherwise(self):
        with self.assertRaises(InvalidStatus) as caught:
            connect(self.origin + "/hello")
        self.assertEqual(caught.exception.response.status_code, 200)
        with self.assertRaises(InvalidStatus) as caught:
            connect(self.origin + "/ws/accepted")
        self.assertEqual(caught.exception.response.status_code, 500)

    def test_many_at_once(self):
        async def talk(number):
            async with connect_async(self.origin + "/ws/echo", open_timeout=60, close_timeout=60) as ws:
                for count in range(20):
                    await ws.send(f"{number} {count}")
                    if await asyncio.wait_for(ws.recv(), 60) != f"{number} {count}":
                        return False
                return True

        async def all_of_them():
            return await asyncio.gather(*(talk(number) for number in range(100)))

        self.assertTrue(all(asyncio.run(all_of_them())))

    def test_all_messages_before_a_close_are_answered(self):
        async def talk():
            async with connect_async(self.origin + "/ws/echo", close_timeout=60) as ws:
                for number in range(200):
                    await ws.send(str(number))
                closing = asyncio.create_task(ws.close(1000))
                got = [message async for message in ws]
                await closing
                return got

        self.assertEqual(asyncio.run(talk()), [str(number) for number in range(200)])

    def test_wsproto(self):
        for extensions in ([], [PerMessageDeflate()]):
            with self.subTest(extensions=extensions), socket.create_connection(("127.0.0.1", self.node.port), 60) as line:
                client = WSConnection(ConnectionType.CLIENT)

                def send(event):
                    line.sendall(client.send(event))

                def receive():
                    while True:
                        for event in client.events():
                            return event
                        client.receive_data(line.recv(65536) or None)

                send(Request(host=f"127.0.0.1:{self.node.port}", target="/ws/echo", extensions=extensions))
                accepted = receive()
                self.assertIsInstance(accepted, AcceptConnection)
                self.assertEqual(len(accepted.extensions), len(extensions))
                send(Ping(b"payload"))
                self.assertEqual(receive(), Pong(b"payload"))
                for message in (TextMessage("Hello"), BytesMessage(b"\0\xff")):
                    send(message)
                    self.assertEqual(receive().data, message.data)
                text = "All work and no play makes a dull page. " * 50
                send(TextMessage(text))
                got = ""
                while len(got) < len(text):
                    got += receive().data
                self.assertEqual(got, text)
                send(CloseConnection(4000, "enough"))
                self.assertEqual(receive().code, 4000)


if __name__ == "__main__":
    unittest.main()
