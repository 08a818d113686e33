"""The control listener: on this machine alone, or with TLS and tokens."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import tempfile
import unittest

from certificates import make
from harness import Node, edge, product, wait_until
from projects import Project
from test_tls_certificates import SHAPE, STAGING
from tls_clients import fingerprint, fingerprint_of


def ask(port, path, token=None, context=None, host="127.0.0.1", method="GET"):
    connection = http.client.HTTPSConnection(host, port, timeout=30, context=context or ssl._create_unverified_context())
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Control(unittest.TestCase):
    def start(self, *arguments):
        """A node that is asked to listen for control somewhere else than the harness does."""
        node = Node("run", product("HelloWorker"), "--no-log-requests", *arguments)
        self.addCleanup(node.__exit__)
        return node

    def test_an_address_that_others_reach_is_refused_without_tls(self):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:9000", "*:0"):
            with self.subTest(address):
                done = edge("run", product("HelloWorker"), "--control", address, "--listen", "127.0.0.1:0")
                self.assertEqual(done.returncode, 64)
                self.assertIn("tokens would cross the network in the clear", done.stderr)
                self.assertNotIn("ready", done.stdout)
        done = edge("run", product("HelloWorker"), "--control-https", "--listen", "127.0.0.1:0")
        self.assertEqual(done.returncode, 64)
        self.assertIn("--control-https: the node has no certificate", done.stderr)

    def test_https_on_this_machine(self):
        with Node("run", product("HelloWorker"), "--https", "--control-https", "--no-log-requests") as node:
            self.assertTrue(node.control.startswith("https://127.0.0.1:"))
            trusting = ssl.create_default_context(cafile=os.path.join(node.state, "localhost.pem"))
            self.assertEqual(ask(node.control_port, "/status", context=trusting)[0], 200)
            with open(os.path.join(node.state, "operator-token")) as file:
                token = file.read().strip()
            self.assertEqual(ask(node.control_port, "/client/v4/user/tokens/verify", token)[0], 200)
            # HTTP/2 there as well, and commands find the way and the certificate by themselves.
            done = subprocess.run(
                ["curl", "--silent", "--show-error", "--cacert", os.path.join(node.state, "localhost.pem"), "--write-out",
                 "%{http_version} %{http_code}", "--output", os.devnull, f"{node.control}/status"], capture_output=True, text=True)
            self.assertEqual((done.stdout, done.stderr), ("2 200", ""))
            done = edge("status", "--state", node.state)
            self.assertEqual(done.returncode, 0, done.stderr)
            with self.assertRaises((http.client.HTTPException, ConnectionError)):
                connection = http.client.HTTPConnection("127.0.0.1", node.control_port, timeout=30)
                connection.request("GET", "/status")
                if connection.getresponse().status == 400:
                    raise ConnectionError("told so")

    def test_where_others_reach_it_nothing_is_told_without_a_token(self):
        # The harness puts its own --control behind: this node is started by hand.
        with tempfile.TemporaryDirectory(prefix="edge-test-") as state:
            process = subprocess.Popen(
                [product("edge"), "run", product("HelloWorker"), "--https", "--listen", "127.0.0.1:0", "--control", "0.0.0.0:0",
                 "--state", state], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            try:
                line = ""
                while not line.startswith("ready "):
                    line = process.stdout.readline()
                    self.assertTrue(line, "the node ended")
                self.assertIn(" control https://0.0.0.0:", line)
                port = int(line.rsplit(":", 1)[1])
                with open(os.path.join(state, "operator-token")) as file:
                    token = file.read().strip()
                self.assertEqual(ask(port, "/__edge/health/live")[0], 200)
                for path in ("/status", "/metrics", "/cdn-cgi/trace", "/cdn-cgi/handler/scheduled", "/client/v4/user/tokens/verify",
                             "/nowhere", "/client/v4/accounts/local/analytics_engine/sql", "/client/v4/zones/local/purge_cache",
                             "/client/v4/accounts/local/r2/buckets/b/lifecycle"):
                    for method in ("GET", "POST", "PUT"):
                        with self.subTest(path=path, method=method):
                            status, body = ask(port, path, method=method)
                            self.assertIn(status, (400, 404, 405), body)
                            self.assertFalse(json.loads(body)["success"])
                            self.assertIn(json.loads(body)["errors"][0]["code"], (9106, 7000, 7001))
                            self.assertIn(ask(port, path, "x" * 40, method=method)[0], (401, 404, 405))
                self.assertEqual(ask(port, "/status", token)[0], 200)
                self.assertEqual(ask(port, "/metrics", token)[0], 200)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=40)

    def test_new_certificates_without_a_restart(self):
        with Project(SHAPE, products=["HelloWorker"]) as project:
            project.write("environments/staging.toml",
                          STAGING + 'listen = ["127.0.0.1:0"]\ntls = { certificate = "tls/one.pem", key = "tls/one.key" }\n')
            os.makedirs(project.path("tls"))
            make(project.path("tls"), "one", ["example.test"])
            node = Node("serve", "--environment", "staging", "--products", project.path(".build/debug"), "--key-file",
                        project.path("key"), "--control-https", cwd=project.directory)
            self.addCleanup(node.__exit__)
            node.start()
            first = fingerprint_of(project.path("tls/one.pem"))
            self.assertEqual(fingerprint(node.control_port), first)
            make(project.path("tls"), "one", ["example.test"])
            node.process.send_signal(signal.SIGHUP)
            wait_until(lambda: fingerprint(node.control_port) == fingerprint_of(project.path("tls/one.pem")), what="the certificate")
            self.assertNotEqual(fingerprint(node.control_port), first)


if __name__ == "__main__":
    unittest.main()
