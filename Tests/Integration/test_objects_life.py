"""How durable objects come and go: sleep, death of isolates and nodes, new code (spec: durable-objects, sections 4 to 6)."""

import http.client
import os
import random
import signal
import socket
import struct
import threading
import unittest

from harness import wait_until
from objects import Failed, Objects
from raw_websocket import BINARY, CLOSE, TEXT, RawWebSocket
from rest import Rest


# The long variant asks for a thousand.
KILLS = int(os.environ.get("EDGE_OBJECT_KILLS", "25"))


class Sleep(unittest.TestCase):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.objects = cls.enterClassContext(Objects(hibernate="200ms", evict="400ms"))

    def probe(self, name, path, **keywords):
        return self.objects.probe(name, path, **keywords)

    def socket(self, name, query=""):
        return RawWebSocket(
            self.objects.node.url + f"/name/PROBES/{name}/socket{query}", host="objects.localhost", protocol=None, timeout=60)

    def ask(self, client, text):
        client.send(TEXT, text.encode())
        return client.receive()[1].decode()

    def sleeps(self, client, before):
        """Whether another life of the object answers now."""
        return int(self.ask(client, "constructed")) > before

    def test_probe_20_a_sleeping_object_wakes_for_a_message(self):
        with self.socket("sleeper", "?tag=t&attachment=kept") as client:
            before = int(self.ask(client, "constructed"))
            # Each question wakes it: they come seldom enough that it can sleep in between.
            wait_until(lambda: threading.Event().wait(1) or self.sleeps(client, before), 60)
            self.assertEqual(self.ask(client, "attachment"), "kept")
            self.assertEqual(self.objects.json("/name/PROBES/sleeper/sockets?tag=t"), ["t:kept"])

    def test_probe_19_an_automatic_answer_wakes_nobody(self):
        with self.socket("automatic") as client:
            self.probe("automatic", "auto?request=ping&response=pong")
            before = int(self.ask(client, "constructed"))
            for _ in range(20):
                threading.Event().wait(0.1)
                self.assertEqual(self.ask(client, "ping"), "pong")
            client.send(BINARY, b"ping")
            self.assertEqual(client.receive(), (BINARY, b"ping"))
            # It has slept through all of them: once, and no more.
            self.assertEqual(int(self.ask(client, "constructed")), before + 1)

    def test_probe_21_a_client_that_is_gone_and_one_that_closes(self):
        client = self.socket("closing")
        self.assertEqual(self.ask(client, "hello"), "hello")
        client.send(CLOSE, struct.pack(">H", 4001) + b"x")
        self.assertEqual(client.close_code()[0], 4001)
        events = lambda: self.objects.json("/name/PROBES/closing/events")
        wait_until(lambda: events() == ["close 4001 x true"], 30, events)
        client = self.socket("closing")
        self.assertEqual(self.ask(client, "hello"), "hello")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
        wait_until(
            lambda: events()[1:] == ["close 1006 WebSocket disconnected without sending Close frame. false"], 30, events)

    def test_a_worker_is_the_client_of_a_socket_that_hibernates(self):
        def converse(name, count, pause=0, last="bye"):
            return self.objects.json(f"/converse/{name}/{count}/{pause}?last={last}")

        heard = converse("loop", 300)
        self.assertEqual(heard[:301], ["hi"] + [str(number) for number in range(300)])
        self.assertEqual(heard[303:], ["mine", "bye", "4000"])
        wait_until(lambda: self.objects.json("/name/PROBES/loop/sockets") == [], 30)
        wait_until(lambda: self.objects.json("/name/PROBES/loop/events") == ["close 4000 enough true"], 30)
        self.assertEqual(converse("other-end", 1, last="close")[-2:], ["mine", "3001"])

        # The object sleeps while the worker has its end.
        def slept():
            heard = converse("sleeping", 0, pause=1000)
            return int(heard[2]) > int(heard[1])

        wait_until(slept, 60)

    def test_a_socket_that_cannot_hibernate_ends_with_its_object(self):
        rest = Rest(self.objects.node, "t")
        namespace = next(
            item["id"] for item in rest.result("GET", "workers/durable_objects/namespaces") if item["class"] == "Probe")
        with RawWebSocket(
                self.objects.node.url + "/name/PROBES/standard/standard", host="objects.localhost", protocol=None,
                timeout=60) as client:
            self.assertEqual(self.ask(client, "hello"), "hello")
            own = f"edge/durable_objects/namespaces/{namespace}/objects/{self.probe('standard', 'id')}"
            self.assertEqual(rest.result("POST", f"{own}/evict"), {"evicted": True})
            # The node or the isolate says it, whichever is first.
            self.assertEqual(client.close_code(), (1012, "the object is being moved: connect again"))

    def test_close_by_the_object(self):
        with self.socket("object-closes") as client:
            client.send(TEXT, b"close")
            self.assertEqual(client.close_code(), (3001, "as asked"))

    def test_storage_survives_sleep(self):
        self.probe("evicted", "put?v=kept")
        before = int(self.probe("evicted", "constructed"))
        wait_until(lambda: threading.Event().wait(1) or int(self.probe("evicted", "constructed")) > before, 60)
        self.assertEqual(self.probe("evicted", "get"), "kept")

    def test_an_object_that_waits_for_a_timer_stays(self):
        before = self.probe("busy", "constructed")
        self.assertEqual(self.probe("busy", "sleep?ms=1500"), "slept")
        self.assertEqual(self.probe("busy", "constructed"), before)


class Death(unittest.TestCase):
    seconds = 90

    def test_probe_7_two_writes_are_both_there_or_neither(self):
        with Objects() as objects:
            stop = threading.Event()

            def write():
                number = 0
                while not stop.is_set():
                    try:
                        objects.probe("pair", f"pair?v={number}", timeout=20)
                        number += 1
                    except (Failed, OSError, http.client.HTTPException):
                        pass

            writer = threading.Thread(target=write)
            writer.start()
            try:
                for _ in range(KILLS):
                    try:
                        pid = int(objects.probe("pair", "pid", timeout=20))
                        threading.Event().wait(random.uniform(0, 0.02))
                        os.kill(pid, signal.SIGKILL)
                    except (Failed, OSError, ProcessLookupError):
                        pass

                    def read():
                        try:
                            return objects.probe("pair", "read-pair", timeout=20).split()
                        except (Failed, OSError):
                            return None

                    pair = []
                    wait_until(lambda: pair.append(read()) or pair[-1] is not None, 30)
                    self.assertEqual(pair[-1][0], pair[-1][1])
            finally:
                stop.set()
                writer.join()

    def test_probe_16_an_alarm_survives_the_node(self):
        objects = Objects()
        with objects:
            objects.probe("alarm", "set-alarm?in=3000")
            objects.node.kill()
            objects.node.start()
            wait_until(lambda: len(objects.json("/name/PROBES/alarm/alarms")) == 1, 60)
            self.assertEqual(objects.json("/name/PROBES/alarm/alarms")[0].split()[0], "0")

    def test_probe_16_an_alarm_that_is_cut_off_runs_again_uncounted(self):
        with Objects() as objects:
            objects.probe("cut-off", "set-alarm?in=1&plan=sleep")
            wait_until(lambda: len(objects.json("/name/PROBES/cut-off/alarms")) == 1, 30)
            os.kill(int(objects.probe("cut-off", "pid")), signal.SIGKILL)
            wait_until(lambda: len(objects.json("/name/PROBES/cut-off/alarms")) == 2, 60)
            self.assertEqual(objects.json("/name/PROBES/cut-off/alarms")[1].split()[0], "0")

    def test_what_was_acknowledged_survives_the_node(self):
        with Objects() as objects:
            for number in range(20):
                objects.account(f"a{number % 5}", "add?n=1")
            objects.node.kill()
            objects.node.start()
            self.assertEqual([objects.account(f"a{number}", "read") for number in range(5)], ["4"] * 5)


if __name__ == "__main__":
    unittest.main()
