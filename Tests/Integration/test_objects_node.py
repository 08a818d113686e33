"""What the node does for durable objects: large messages (spec: durable-objects, section 5)."""

import contextlib
import unittest

from objects import Objects
from raw_websocket import BINARY, RawWebSocket

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


if __name__ == "__main__":
    unittest.main()
