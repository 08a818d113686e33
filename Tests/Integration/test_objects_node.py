"""What the node does for durable objects: large messages, many idle sockets (spec: durable-objects, section 5)."""

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

    def test_idle_sockets_cost_little(self):
        def resident():
            with open(f"/proc/{self.objects.node.process.pid}/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

        with contextlib.ExitStack() as stack:
            for index in range(100):  # What the first ones cost is the node's own.
                stack.enter_context(self.socket(f"idle{index % 4}"))
            before = resident()
            for index in range(500):
                stack.enter_context(self.socket(f"idle{index % 4}"))
            self.assertLess((resident() - before) / 500, 4, "KiB for each socket")


if __name__ == "__main__":
    unittest.main()
