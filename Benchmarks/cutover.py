"""What a cutover costs those who are served meanwhile, and those who wait for it. Mixed into `Bench` of bench.py."""

import os
import re
import statistics
import subprocess
import threading
import time


class CutoverRows:
    """A load at a fixed number of connections with a deployment in its middle, beside the same load without one."""

    def load_for(self, port, seconds):
        """(requests, those that failed, p99 in µs) of one wrk run."""
        output = subprocess.run(
            ["wrk", "-t", "1", "-c", "16", "-d", f"{seconds}s", "--latency", "--timeout", "10s", "-H", "Host: localhost",
             f"http://127.0.0.1:{port}/self"], capture_output=True, text=True, check=True).stdout
        failed = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", output))
        sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
        failed += sum(int(count) for count in sockets.groups()) if sockets else 0
        value, unit = re.search(r"\s99%\s+([\d.]+)(us|ms|s)", output).groups()
        return (int(re.search(r"(\d+) requests in", output).group(1)), failed,
                float(value) * {"us": 1, "ms": 1000, "s": 1_000_000}[unit])

    def cutover(self):
        os.environ["EDGE_PRODUCTS"] = self.options.products
        from test_cutover import STAGING, Deployed
        seconds = max(4, self.options.seconds)
        steady, during, waits, returns = [], [], [], []
        with Deployed(STAGING.replace('"2s"', '"5m"')) as platform:
            self.load_for(platform.node.port, 2)
            for number in range(1, self.options.rounds * 2 + 1):
                steady.append(self.load_for(platform.node.port, seconds))
                taken = []

                def deploy():
                    time.sleep(seconds / 4)
                    started = time.monotonic()
                    platform.deploy(number)
                    taken.append(time.monotonic() - started)

                thread = threading.Thread(target=deploy)
                thread.start()
                during.append(self.load_for(platform.node.port, seconds))
                thread.join()
                waits += taken
            # Back and forth while both are warm: what the node itself took, from the lock to the switch.
            for _ in range(5):
                started = time.monotonic()
                platform.run("rollback", "--yes", "--json")
                returns.append(time.monotonic() - started)
        self.cutover_rows(steady, during, waits, returns)

    def cutover_rows(self, steady, during, waits, returns):
        ratio = statistics.median(a[2] / b[2] for a, b in zip(during, steady))
        self.row("p99 while a release is exchanged", f"{ratio:.2f} x p99 otherwise", "<= 1.5",
                 f"{statistics.median(run[2] for run in during):,.0f} vs {statistics.median(run[2] for run in steady):,.0f} us")
        dip = 1 - statistics.median(a[0] / b[0] for a, b in zip(during, steady))
        failed = sum(run[1] for run in during)
        self.row("requests lost by it", f"{failed} failed, {dip:.1%} fewer", "0 failed, <= 5 % fewer",
                 f"{sum(run[0] for run in during):,} requests over {len(during)} cutovers")
        self.row("edge deploy of changed workers, to active", f"{statistics.median(waits):.2f} s", "<= 2 s",
                 f"slowest {max(waits):.2f} s; the command's own start and upload included")
        self.row("edge rollback to a warm release", f"{statistics.median(returns) * 1000:.0f} ms", "<= 100 ms in the node",
                 f"slowest {max(returns) * 1000:.0f} ms; the command's own start included")
