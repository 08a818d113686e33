"""Load for the suites that break things: threads that keep asking, and what they were told."""

import http.client
import threading
import time


class Requester:
    """One keep-alive connection, opened again when it breaks."""

    def __init__(self, port, timeout=30):
        self.port = port
        self.timeout = timeout
        self.connection = None

    def request(self, method, path, body=None, headers=None):
        """Returns (status, body), or raises what http.client raises."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            content = answer.read()
            if answer.will_close:
                self.close()
            return answer.status, content
        except Exception:
            self.close()
            raise

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Neighbour:
    """A thread that asks a well-behaved worker all along. A context manager; `check` tells what it met."""

    def __init__(self, port, host, path="/hello", expected=b"hello"):
        self.port, self.host, self.path, self.expected = port, host, path, expected
        self.failures = []
        self.answers = 0
        self.slowest = 0
        self.ends = False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        requester = Requester(self.port, timeout=20)
        while not self.ends:
            started = time.monotonic()
            try:
                status, body = requester.request("GET", self.path, headers={"Host": self.host})
                if (status, body) != (200, self.expected):
                    self.failures.append((status, body))
            except Exception as error:
                self.failures.append(repr(error))
            self.answers += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
            time.sleep(0.005)
        requester.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends = True
        self.thread.join(30)


def in_threads(count, work):
    """Runs `work(number)` in `count` threads; raises what the first of them raised."""
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def memory_of(pid):
    """Resident bytes that are the process' own: shared file pages come and go with the cache."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024
