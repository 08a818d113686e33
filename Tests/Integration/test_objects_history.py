"""The past of durable objects: bookmarks, restores, and their undoing (spec: durable-objects, section 3.5)."""

import glob
import http.client
import os
import random
import signal
import tempfile
import threading
import unittest
import urllib.parse

from harness import edge, wait_until
from objects import Failed, Objects

FORM = r"^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}$"
LOST = (Failed, OSError, http.client.HTTPException)
RESTORES = int(os.environ.get("EDGE_OBJECT_RESTORES", "5"))


class History(unittest.TestCase):
    seconds = 25

    @classmethod
    def setUpClass(cls):
        cls.objects = cls.enterClassContext(Objects())

    def probe(self, name, path, **keywords):
        return self.objects.probe(name, path, **keywords)

    def calm(self, name, path):
        return self.objects.calmly(f"/name/PROBES/{name}/{path}")

    def abort(self, name):
        with self.assertRaises(Failed) as failed:
            self.probe(name, "abort?reason=to%20go%20back")
        self.assertEqual(failed.exception.message, "to go back")

    def restore(self, name, bookmark):
        undo = self.calm(name, f"restore?bookmark={bookmark}")
        self.abort(name)
        return undo

    def test_probe_27_a_bookmark_is_restored_and_undone(self):
        rows = "sql?q=" + urllib.parse.quote("SELECT a FROM t ORDER BY a")
        self.probe("p27", "put?v=one")
        self.probe("p27", "sql?q=" + urllib.parse.quote("CREATE TABLE t (a); INSERT INTO t VALUES (1)"))
        first, first_rows = self.probe("p27", "bookmark"), self.probe("p27", rows)
        self.probe("p27", "put?v=two")
        self.probe("p27", "sql?q=" + urllib.parse.quote("INSERT INTO t VALUES (2)"))
        due = self.probe("p27", "set-alarm?in=3600000")
        second, second_rows = self.probe("p27", "bookmark"), self.probe("p27", rows)
        self.assertNotEqual(first_rows, second_rows)
        self.assertRegex(first, FORM)
        self.assertLess(first, second)
        undo = self.probe("p27", f"restore?bookmark={first}")
        # Nothing has happened, and what is written now is undone, too.
        self.assertEqual(self.probe("p27", "get"), "two")
        self.probe("p27", "put?v=three")
        self.abort("p27")
        self.assertEqual(
            [self.probe("p27", path) for path in ("get", rows, "alarm", "name")], ["one", first_rows, "nil", "p27"])
        self.abort("p27")
        self.assertEqual(self.probe("p27", "get"), "one")
        self.assertGreater(self.probe("p27", "bookmark"), undo)
        self.assertRegex(undo, FORM)
        self.assertGreater(undo, second)
        # Also by another node process.
        self.objects.node.kill()
        self.objects.node.start()
        self.restore("p27", undo)
        self.assertEqual([self.calm("p27", path) for path in ("get", "alarm")], ["three", due])
        self.restore("p27", second)
        self.assertEqual([self.calm("p27", path) for path in ("get", rows)], ["two", second_rows])

    def test_a_time_has_the_state_that_was_the_newest_then(self):
        self.calm("timed", "put?v=one")
        between = int(self.calm("timed", "now"))
        wait_until(lambda: int(self.calm("timed", "now")) > between + 20, 30)
        self.probe("timed", "put?v=two")
        self.restore("timed", self.probe("timed", f"bookmark-at?t={between + 10}"))
        self.assertEqual(self.calm("timed", "get"), "one")
        for time_, words in ((between + 86_400_000, "in the future"), (between - 31 * 86_400_000, "goes back 30.0 days")):
            with self.assertRaises(Failed) as failed:
                self.probe("timed", f"bookmark-at?t={time_}")
            self.assertIn(words, failed.exception.message)

    def test_what_is_no_bookmark_of_the_object_is_refused(self):
        self.calm("one", "put?v=x")
        self.calm("other", "put?v=x")
        other = self.probe("other", "bookmark")
        for bookmark, words in (("yesterday", "Invalid bookmark: yesterday"), (other, "is not of this database's history")):
            with self.assertRaises(Failed) as failed:
                self.probe("one", f"restore?bookmark={bookmark}")
            self.assertIn(words, failed.exception.message)
        with self.assertRaises(Failed) as failed:
            self.objects.plain("keys", "bookmark")
        self.assertIn("is not backed by SQLite storage", failed.exception.message)

    def test_the_past_goes_with_an_archive(self):
        self.calm("moved", "put?v=one")
        first = self.probe("moved", "bookmark")
        self.probe("moved", "put?v=two")
        with tempfile.TemporaryDirectory() as folder, Objects() as other:
            archive = os.path.join(folder, "state.tar")
            for words, node in (
                (("export", "--out", archive), self.objects.node),
                (("import", archive, "--keep-secrets", "--yes"), other.node),
            ):
                done = edge("state", *words, "--tenant", "t", "--state", node.state)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(other.probe("moved", "get"), "two")
            undo = other.probe("moved", f"restore?bookmark={first}")
            with self.assertRaises(Failed):
                other.probe("moved", "abort")
            self.assertEqual(other.probe("moved", "get"), "one")
            self.assertLess(undo, other.probe("moved", "bookmark"))
        # Here nothing has happened.
        self.assertEqual(self.calm("moved", "get"), "two")

    def test_kills_during_restores_leave_one_state_or_the_other(self):
        states = {}
        for value in ("red", "blue"):
            self.calm("killed", f"fill?v={value}")
            states[value] = (self.probe("killed", "bookmark"), self.calm("killed", "filling"))
        self.assertNotEqual(states["red"][1], states["blue"][1])
        present = "blue"
        for _ in range(RESTORES):
            target = "red" if present == "blue" else "blue"
            pid = int(self.calm("killed", "pid"))
            undo = self.restore("killed", states[target][0])

            def open_it():
                try:
                    self.probe("killed", "filling", timeout=20)
                except LOST:
                    pass

            opener = threading.Thread(target=open_it)
            opener.start()
            threading.Event().wait(random.uniform(0, 0.06))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            opener.join()
            self.assertEqual(self.calm("killed", "filling"), states[target][1])
            if random.random() < 0.5:
                self.restore("killed", undo)
                self.assertEqual(self.calm("killed", "filling"), states[present][1])
            else:
                present = target
        self.assertTrue(glob.glob(self.objects.project.directory + "/**/*.sqlite-history-manifest", recursive=True))


if __name__ == "__main__":
    unittest.main()
