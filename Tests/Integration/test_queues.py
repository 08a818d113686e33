"""Queues as configured, and under kill -9: what was acknowledged is delivered, by a worker or to the dead letters.

A failing run prints its seed; EDGE_SEED repeats the choices (not the timing).
"""

import os
import random
import threading
import time
import unittest

from harness import Node, product, wait_until
from load import Requester
from projects import Project

SEED = int(os.environ.get("EDGE_SEED", random.randrange(1 << 32)))
# A delivery that the node's death cuts short counts as an attempt, of which a message has four, also among the dead letters:
# on a slow disk the batch that is first in line is cut each time. Three queues are more than ten deaths can use up.
LANES = ["jobs", "dead", "dead-2"]
BINDINGS = ["--kv", "KV", "--queue", "QUEUE=jobs", "--consume", "jobs=dead", "--consume", "dead=dead-2", "--consume", "dead-2",
            "--no-log-requests"]


SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*"]
kv = [{ binding = "KV", resource = "kv" }]
queues.produce = [{ binding = "QUEUE", queue = "jobs" }]
queues.consume = [CONSUMER]
[queues.jobs]
messages_per_second = 3
"""
PULL = '{ queue = "jobs", type = "http_pull", visibility_timeout = "1m" }'
PUSH = '{ queue = "jobs", timeout = "0s" }'


class Configured(unittest.TestCase):
    """What the configuration says of a queue and its consumer."""

    def test_a_pull_consumer_gets_nothing_pushed_until_a_release_makes_it_a_worker(self):
        with Project(SHAPE.replace("CONSUMER", PULL)) as project, project.dev() as node:
            def ask(method, path, body=None):
                return node.request(method, path, body=body, host="localhost")

            self.assertEqual(ask("POST", "/queue-batch", b"a\nb\nc").text, "3")
            # More than the three of this second (or the next): refused as a whole, in the product's words.
            self.assertEqual(ask("POST", "/queue-batch", b"d\ne\nf\ng").status, 500)
            self.assertIn("Too Many Requests (10250)", node.log_text())
            self.assertEqual(ask("GET", "/queue-backlog").text, "3")
            project.write("wrangler-like.toml", SHAPE.replace("CONSUMER", PUSH))
            node.wait_for_log("release=dev-2")
            wait_until(lambda: ask("GET", "/queue-backlog").text == "0", what="delivery")
            # It waited untouched: a batch of the pull consumer would have raised the deliveries.
            self.assertEqual([ask("GET", f"/kv/seen/jobs/{name}").text for name in "abc"], ["1", "1", "1"])


class KillTheConsumer(unittest.TestCase):
    """The node dies while batches are with the worker and while messages become dead letters."""

    seconds = 60
    rounds = 10

    def test_each_acknowledged_message_is_delivered_at_least_once(self):
        generator = random.Random(SEED)
        acknowledged, begun, logs = set(), set(), []
        node = Node("run", product("StoreWorker"), *BINDINGS)
        self.addCleanup(node.__exit__)
        try:
            node.start()
            for round in range(self.rounds):
                senders = [
                    threading.Thread(
                        target=self.send, args=(node, f"{round}-{number}", generator.randrange(1 << 32), acknowledged, begun),
                        daemon=True)
                    for number in range(2)]
                for sender in senders:
                    sender.start()
                # Batches leave after a second, and slow ones take another: the end comes before, in and after them.
                time.sleep(generator.uniform(0.3, 2.5))
                node.kill()
                for sender in senders:
                    sender.join()
                logs.append(node.log_text())
                node.start()
            bad = {text for text in acknowledged if text.startswith("fail")}
            good = acknowledged - bad
            self.assertGreater(len(good), 200)
            self.assertGreater(len(bad), 20)
            state = {}

            def delivered():
                jobs, *dead = (self.names(node, f"seen/{lane}/") for lane in LANES)
                state["jobs"], state["dead"] = jobs, set().union(*dead)
                return good <= jobs | state["dead"] and bad <= state["dead"]

            wait_until(delivered, 120, lambda: (
                f"lost: {sorted(good - state['jobs'] - state['dead'])[:5]} {sorted(bad - state['dead'])[:5]}\n"
                f"{self.notable(logs + [node.log_text()])}"))
            self.assertEqual((state["jobs"] | state["dead"]) - begun, set(), "never sent")
            self.assertEqual({text for text in state["jobs"] if text.startswith("fail")}, set())
            wait_until(lambda: node.get("/queue-backlog").text == "0", 60, "the queue's end")
            for log in logs + [node.log_text()]:
                self.assertNotIn("damaged", log)
                self.assertNotIn("dropped after", log)
        except BaseException:
            print(f"\nEDGE_SEED={SEED}")
            raise

    def notable(self, logs):
        """What the node said in each of its lives of messages that came to no good end."""
        words = ("dead letter", "dropped", "failed", "error", "damaged")
        return "\n".join(
            f"life {number}: {line}" for number, log in enumerate(logs) for line in log.splitlines()
            if any(word in line for word in words))[-6000:]

    def send(self, node, lane, seed, acknowledged, begun):
        generator = random.Random(seed)
        requester = Requester(node.port, timeout=30)
        sequence = 0
        while node.process.poll() is None:
            # Two senders never have the same texts, and a set's own operations are atomic.
            texts = []
            for _ in range(generator.choice([1, 5, 20])):
                sequence += 1
                kind = generator.choices(["message", "fail", "slow"], [20, 4, 0.2])[0]
                texts.append(f"{kind}-{lane}-{sequence}")
            begun.update(texts)
            try:
                status, _ = requester.request("POST", "/queue-batch", "\n".join(texts).encode())
            except Exception:
                break
            if status == 200:
                acknowledged.update(texts)
            time.sleep(generator.uniform(0, 0.1))
        requester.close()

    def names(self, node, prefix):
        names, cursor = set(), None
        while True:
            page = node.get(f"/kv-list?prefix={prefix}" + (f"&cursor={cursor}" if cursor else "")).json()
            names.update(name.removeprefix(prefix) for name in page["names"])
            cursor = page.get("cursor")
            if not cursor:
                return names


if __name__ == "__main__":
    unittest.main()
