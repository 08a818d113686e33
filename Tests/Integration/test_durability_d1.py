"""A node is killed with -9 while databases are restored and written to over REST: each is whole afterwards, and in a state
that follows from what was acknowledged (spec d1, section 10 and probe 28).

A failing run prints its seed; EDGE_SEED repeats the choices (not the timing).
"""

import json
import os
import random
import threading
import time
import unittest

from harness import Node, product
from test_d1_api import Client

SEED = int(os.environ.get("EDGE_SEED", random.randrange(1 << 32)))


class Operation:
    """One call: when it was begun and answered, on a clock that counts events. `end` is None while nobody answered."""

    def __init__(self, begin, **facts):
        self.begin, self.end = begin, None
        self.__dict__.update(facts)


class History:
    """What clients have asked for since the round began, and were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = 0
        self.writes = []
        self.restores = []

    def begin(self, kind, **facts):
        with self.lock:
            self.now += 1
            operation = Operation(self.now, **facts)
            kind.append(operation)
            return operation

    def end(self, operation):
        with self.lock:
            self.now += 1
            operation.end = self.now

    def explains(self, found, start):
        """Whether `found` can be what is left: the state that the last restore made, and what was written since.

        - start: what there was before the first call.
        """
        # The last restore that took place is the last one that was acknowledged, or the one that was cut off.
        acknowledged = [restore for restore in self.restores if restore.end]
        candidates = acknowledged[-1:] + [restore for restore in self.restores if not restore.end]
        if not acknowledged:
            candidates.append(None)
        return any(self.follows(found, restore, start) for restore in candidates)

    def follows(self, found, restore, start):
        base = restore.content if restore else start
        must, may = set(base), set(base)
        for write in self.writes:
            if restore and write.end and write.end < restore.begin:
                continue  # It went with the restore.
            may.add(write.number)
            begun_after = not restore or (restore.end and write.begin > restore.end)
            if write.end and begun_after:
                must.add(write.number)
        return must <= found <= may


class KillDuringRestore(unittest.TestCase):
    rounds = 6

    def setUp(self):
        print(f"seed {SEED}", end=" ", flush=True)
        self.random = random.Random(SEED)
        self.node = Node("run", product("HelloWorker"))
        self.addCleanup(self.node.__exit__)
        self.node.start()
        self.client = Client(self.node)
        self.tokens = [self.client.new_token() for _ in range(4)]
        self.database = self.client.make("main")
        self.number = 0

    def rows(self, sql, params=None):
        return self.client.rows(self.database, sql, params)

    def content(self):
        """The numbers in the database, which is whole."""
        self.assertEqual(self.rows("PRAGMA quick_check"), [{"quick_check": "ok"}])
        left = {row["n"] for row in self.rows("SELECT n FROM one")}
        right = {row["n"] for row in self.rows("SELECT n FROM two")}
        self.assertEqual(left, right, "half of a batch is there")
        return left

    def restore(self, bookmark, token=""):
        status, result, errors = self.client.ask(
            "POST", f"/{self.database}/time_travel/restore?bookmark={bookmark}", token=token)
        return result if status == 200 else self.fail(f"{status} {errors}")

    def bookmark(self):
        return self.client.ask("GET", f"/{self.database}/time_travel/bookmark")[1]["bookmark"]

    def write(self, history, token):
        statements = ["INSERT INTO one VALUES (?, randomblob(200))", "INSERT INTO two VALUES (?)"]
        while True:
            with history.lock:
                self.number += 1
                number = self.number
            operation = history.begin(history.writes, number=number)
            try:
                status, _, errors = self.client.ask(
                    "POST", f"/{self.database}/query",
                    {"batch": [{"sql": sql, "params": [number]} for sql in statements]}, token)
            except Exception as error:
                if not self.is_killed:
                    self.failures.append(error)
                return
            if status == 200:
                history.end(operation)
            elif "cancel" not in str(errors) and "reset" not in str(errors) and "connection lost" not in str(errors).lower():
                self.failures.append(f"{status} {errors}")

    def restore_often(self, history, states, token):
        for _ in range(7):
            bookmark, content = self.random.choice(states)
            operation = history.begin(history.restores, content=content)
            self.begun.set()
            try:
                self.restore(bookmark, token)
            except Exception as error:
                if not self.is_killed:
                    self.failures.append(error)
                return
            history.end(operation)
            time.sleep(self.random.uniform(0, 0.3))

    def test_a_restore_is_whole_or_has_not_been(self):
        self.rows("CREATE TABLE one(n INTEGER PRIMARY KEY, payload)")
        self.rows("CREATE TABLE two(n INTEGER PRIMARY KEY)")
        self.number = 3000
        for table, columns in [("one", "i, randomblob(500)"), ("two", "i")]:
            self.rows(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
                      f"INSERT INTO {table} SELECT {columns} FROM n")
        states = [(self.bookmark(), self.content())]
        cut_off, restored, written = 0, 0, 0
        for round in range(self.rounds):
            start = self.content()
            states.append((self.bookmark(), start))
            history = History()
            self.is_killed, self.begun, self.failures = False, threading.Event(), []
            threads = [threading.Thread(target=self.write, args=(history, self.tokens[lane]), daemon=True)
                       for lane in range(3)]
            threads.append(threading.Thread(
                target=self.restore_often, args=(history, states[-3:], self.tokens[3]), daemon=True))
            for thread in threads:
                thread.start()
            # In the middle of a restore, or between two.
            for _ in range(self.random.randrange(1, 4)):
                self.begun.wait(10)
                self.begun.clear()
            time.sleep(self.random.uniform(0, 0.6))
            self.is_killed = True
            self.node.kill()
            for thread in threads:
                thread.join(30)
            self.assertEqual(self.failures, [], self.node.log_text()[-3000:])
            cut_off += sum(restore.end is None for restore in history.restores)
            restored += sum(restore.end is not None for restore in history.restores)
            written += sum(write.end is not None for write in history.writes)
            self.node.start()
            self.client = Client(self.node)
            found = self.content()
            if not history.explains(found, start):
                self.fail(self.describe(round, history, found, start))
            # What was acknowledged can be undone, and done again.
            first = self.restore(states[0][0])
            self.assertEqual(self.content(), states[0][1])
            self.restore(first["previous_bookmark"])
            self.assertEqual(self.content(), found)
            # Writes are still taken, and numbered anew.
            self.rows("INSERT INTO one VALUES (?, 1)", [self.number + 1])
            self.rows("INSERT INTO two VALUES (?)", [self.number + 1])
            self.number += 1
            self.assertEqual(self.content(), found | {self.number})
        # Else nothing was looked at.
        self.assertGreater(min(restored, written), 0)
        print(f"{restored} restores and {written} writes were acknowledged, {cut_off} restores cut off", end=" ", flush=True)

    def describe(self, round, history, found, start):
        return json.dumps({
            "seed": SEED, "round": round, "found": len(found), "start": len(start),
            "restores": [(restore.begin, restore.end, len(restore.content)) for restore in history.restores],
            "unexpected": sorted(found - start)[:20], "missing": sorted(start - found)[:20],
            "writes": [(write.begin, write.end, write.number) for write in history.writes][-40:],
        })


if __name__ == "__main__":
    unittest.main()
