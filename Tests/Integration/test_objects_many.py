"""Thousands of durable objects in one isolate, and what kill -9 leaves of many (spec: durable-objects, sections 2, 4 and 6)."""

import fcntl
import glob
import http.client
import os
import random
import shutil
import signal
import struct
import tempfile
import threading
import time
import unittest

from harness import wait_until
from objects import Failed, Objects

# The long variant asks for more.
KILLS = int(os.environ.get("EDGE_OBJECT_KILLS", "6"))
LOST = (Failed, OSError, http.client.HTTPException)


class Thousands(unittest.TestCase):
    seconds = 40

    def test_thousands_of_objects_share_an_isolate(self):
        count, at_once = 2000, 200
        # How fast the disk is is no matter here.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 1 << 30 else None
        state = self.enterContext(tempfile.TemporaryDirectory(dir=memory, prefix="edge-many-"))
        objects = Objects(hibernate="1h", evict="1h", more="objects_per_isolate = 4000\nisolates = 1\n")
        self.addCleanup(objects.__exit__)
        objects.start(state=state)
        pid = int(objects.probe("first", "pid"))
        objects.account("first", "unsynced")
        for round in (1, 2):
            for part in range(count // at_once):
                self.assertEqual(objects.get(f"/burst/ACCOUNTS/many{part}-/{at_once}"), str(round * at_once))
        for number in random.sample(range(at_once), 20):
            self.assertEqual(objects.account(f"many3-{number}", "read"), "2")
        # All of them live in the one isolate that there is.
        self.assertEqual(int(objects.probe("first", "pid")), pid)
        names = [os.readlink(link) for link in glob.glob(f"/proc/{pid}/fd/*")]
        self.assertEqual(len({name for name in names if name.endswith(".sqlite")}), count + 2)
        # A lock for each, four more for each of 64 databases, and what every isolate has.
        self.assertLess(len(names), count + 4 * 64 + 100)
        with open(f"/proc/{pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        # A connection takes some 200 KiB: 2,000 of them would be 400 MiB.
        self.assertLess(resident, 110 << 10)


def second_instance(lives):
    """Two lives that were there at the same time, if there were: each is (called, answered, number, process)."""
    processes = {}
    for life in lives:
        if processes.setdefault(life[2], life[3]) != life[3]:
            return f"life {life[2]} in {processes[life[2]]} and {life[3]}"
    by_answer = sorted(lives, key=lambda life: life[1])
    newest, index = 0, 0
    for called, _, number, _ in sorted(lives):
        while by_answer[index][1] < called:
            newest = max(newest, by_answer[index][2])
            index += 1
        if number < newest:
            return f"life {number} answered behind life {newest}"
    return None


class Kills(unittest.TestCase):
    seconds = 40

    def test_the_checker_finds_second_instances(self):
        self.assertIsNone(second_instance([(0, 1, 1, 7), (0.5, 3, 2, 8), (2, 4, 2, 8), (0.6, 2.5, 1, 7)]))
        self.assertIsNotNone(second_instance([(0, 1, 1, 7), (2, 3, 1, 8)]))
        self.assertIsNotNone(second_instance([(0, 1, 2, 8), (2, 3, 1, 7)]))

    def test_kill_9_takes_nothing_that_was_acknowledged_and_leaves_one_instance(self):
        with Objects() as objects:
            stop = threading.Event()
            acknowledged, attempted = [0] * 12, [0] * 12
            alarms, lives = [], []

            def until_stopped(body):
                def run():
                    while not stop.is_set():
                        try:
                            body()
                        except LOST:
                            stop.wait(0.02)
                return threading.Thread(target=run)

            def adder(lane):
                def add():
                    number = lane + 3 * random.randrange(4)
                    attempted[number] += 1
                    objects.account(f"kept{number}", "add?n=1", method="POST", timeout=30)
                    acknowledged[number] += 1
                return add

            def ring():
                name = f"ring{random.randrange(1 << 40)}"
                objects.probe(name, f"set-alarm?in={random.randrange(1500)}", method="POST", timeout=30)
                alarms.append(name)
                stop.wait(0.1)

            def look():
                called = time.monotonic()
                number, process = objects.probe("single", "life", timeout=30).split()
                lives.append((called, time.monotonic(), int(number), int(process)))
                stop.wait(random.uniform(0, 0.01))

            threads = [until_stopped(adder(lane)) for lane in range(3)] + [until_stopped(body) for body in (ring, look, look)]
            for thread in threads:
                thread.start()
            try:
                for round in range(KILLS):
                    stop.wait(random.uniform(0.1, 0.5))
                    if round % 6 == 3:
                        objects.node.kill()
                        objects.node.start()
                        continue
                    for pid in objects.isolate_pids():
                        try:
                            os.kill(pid, signal.SIGKILL)
                        except ProcessLookupError:
                            pass
                before = len(lives)
                wait_until(lambda: len(lives) > before + 5, 60, "answers behind the last death")
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            self.assertGreater(sum(acknowledged), 12)
            self.assertTrue(alarms)
            self.assertIsNone(second_instance(lives))
            # Its isolate died with most of them.
            self.assertGreater(len({life[2] for life in lives}), KILLS // 3)
            for number in range(12):
                found = int(objects.calmly(f"/name/ACCOUNTS/kept{number}/read"))
                self.assertLessEqual(acknowledged[number], found)
                self.assertLessEqual(found, attempted[number])
            for name in alarms:
                wait_until(lambda: objects.json(f"/name/PROBES/{name}/alarms"), 60, f"the alarm of {name}")
                _, _, scheduled, now, _ = objects.json(f"/name/PROBES/{name}/alarms")[0].split()
                self.assertGreaterEqual(int(now), int(scheduled))

    def test_the_lock_of_an_object_keeps_a_second_instance_out(self):
        with Objects() as objects:
            self.assertEqual(objects.account("fenced", "add?n=1"), "1")
            identity = objects.json("/ids/ACCOUNTS/fenced")["first"]
            objects.node.kill()
            path = glob.glob(objects.project.path(f"state/**/{identity}.sqlite"), recursive=True)[0]
            with open(path, "r+b") as file:
                # The byte that isolates lock: as one would that has survived its node.
                lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, (1 << 63) - 2, 1, 0)
                wait_until(lambda: self.takes(file, lock), 30, "the end of the isolate")
                objects.node.start()
                with self.assertRaises(Failed) as caught:
                    objects.account("fenced", "add?n=1")
                self.assertEqual(caught.exception.message, "The Durable Object is still open elsewhere.")
                # Others are not kept out.
                self.assertEqual(objects.account("free", "add?n=1"), "1")
            self.assertEqual(objects.calmly("/name/ACCOUNTS/fenced/add?n=1"), "2")

    def takes(self, file, lock):
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
            return True
        except (BlockingIOError, PermissionError):
            return False


if __name__ == "__main__":
    unittest.main()
