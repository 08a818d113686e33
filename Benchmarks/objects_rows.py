"""Durable objects: requests, durable writes, and SQL inside of an object. Mixed into `Bench` of bench.py."""

import os
import re
import statistics
import subprocess
import tempfile
import threading
import time


class ObjectRows:
    """Through the node and a worker in front: each request is one call of a stub."""

    def object_load(self, port, script):
        """Requests per second of one wrk run, all of which succeeded."""
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            output = subprocess.run(
                ["wrk", "-t", "1", "-c", "64", "-d", f"{self.options.seconds}s", "-s", file.name, "-H", "Host: objects.localhost",
                 f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in output:
            raise RuntimeError(output)
        return float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))

    def syncs(self, directory):
        """What one thread does with a write and an fdatasync each, per second, on the same disk."""
        path = os.path.join(directory, "syncs")
        with open(path, "wb", buffering=0) as file:
            end = time.monotonic() + self.options.seconds
            count = 0
            while time.monotonic() < end:
                file.write(bytes(4120))
                os.fdatasync(file.fileno())
                count += 1
        os.unlink(path)
        return count / self.options.seconds

    def broadcast(self, members=10_000):
        """One message of an object to all WebSockets of a room, from asking for it to each receipt."""
        os.environ["EDGE_PRODUCTS"] = self.options.products
        from crowd import Crowd
        from objects import HOST, Objects

        with Objects() as objects:
            with Crowd(objects.node.port, HOST["Host"], ["/name/PROBES/room/socket"] * members) as crowd:
                late, alone = [], []
                for number in range(self.options.rounds + 1):
                    # What the client itself needs to read as many that are there already.
                    objects.probe("room", "broadcast?text=before")
                    time.sleep(1)
                    start = time.monotonic()
                    crowd.receive()
                    own = time.monotonic() - start
                    start = time.monotonic()
                    asking = threading.Thread(target=objects.probe, args=("room", "broadcast?text=news"))
                    asking.start()
                    _, times = crowd.receive()
                    asking.join()
                    if number:  # The first round warms up.
                        alone.append(own)
                        late.append(sorted(at - start for at in times)[members * 99 // 100])
                self.row(f"broadcast to {members:,} WebSockets, p99", f"{statistics.median(late) * 1000:,.0f} ms", "",
                         f"to the receipt; the client, a thread of Python, needs {statistics.median(alone) * 1000:,.0f} ms of that")

    def objects(self):
        os.environ["EDGE_PRODUCTS"] = self.options.products
        from objects import Objects

        def script(names, path):
            return f"""
                local number = 0
                function request()
                    number = number % {names} + 1
                    return wrk.format("GET", "/name/ACCOUNTS/bench" .. number .. "/{path}")
                end"""

        with Objects() as objects:
            port = objects.node.port
            figures = {}
            for names in (1, 1000):
                for path in ("read", "add"):
                    rounds = []
                    for number in range(self.options.rounds + 1):
                        rate = self.object_load(port, script(names, path))
                        if number:  # The first round warms up.
                            rounds.append(rate)
                    figures[names, path] = statistics.median(rounds)
            sync = self.syncs(objects.project.directory)
            self.row("requests to one hot object", f"{figures[1, 'read']:,.0f}/s", "", "64 connections")
            self.row("requests over 1,000 objects", f"{figures[1000, 'read']:,.0f}/s", "", "64 connections")
            for names, title in ((1, "durable increments of one object"), (1000, "durable increments over 1,000 objects")):
                figure = figures[names, "add"]
                self.row(title, f"{figure / sync:.1f} x one fdatasync each", "> 1", f"{figure:,.0f}/s vs {sync:,.0f}/s")
            ratios = []
            for _ in range(self.options.rounds + 1):
                inside = int(objects.account("points", "select?n=200000"))
                raw = int(objects.account("points", "select?n=200000&raw"))
                ratios.append((raw / inside, inside / 200_000))
            ratio = statistics.median(pair[0] for pair in ratios[1:])
            self.row("sql.exec point select in an object", f"{ratio:.2f} x raw SQLite", ">= 0.8",
                     f"{statistics.median(pair[1] for pair in ratios[1:]):,.0f} ns each")
