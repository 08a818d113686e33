"""Certificates: those that a node makes, those that are configured, and what a reload changes."""

import hashlib
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import unittest

import certificates
from harness import Node, edge, product, wait_until
from projects import Project
from tls_clients import connect, context, counter, exchange, fingerprint, fingerprint_of, read_to_end

SHAPE = """format = 1
tenant = "acme"
compatibility_date = "2026-01-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
"""
STAGING = 'format = 1\ndomain = "localhost"\n'


class OwnCertificate(unittest.TestCase):
    """`--https`."""

    def test_a_certificate_that_clients_can_trust_is_made_once(self):
        with tempfile.TemporaryDirectory() as state:
            pem, key = os.path.join(state, "localhost.pem"), os.path.join(state, "localhost.key")
            for _ in range(2):
                with Node("run", product("HelloWorker"), "--https", state=state) as node:
                    self.assertRegex(node.url, r"^https://localhost:\d+$")
                    self.assertIn(f"curl --cacert {pem}", node.log_text())
                    for host in ("localhost", "127.0.0.1"):
                        done = subprocess.run(
                            ["curl", "--silent", "--show-error", "--cacert", pem, "--resolve", f"{host}:{node.port}:127.0.0.1",
                             f"https://{host}:{node.port}/hello"], capture_output=True, text=True)
                        self.assertEqual(done.stdout, "hello", done.stderr)
                    self.assertEqual(fingerprint(node.port), fingerprint_of(pem))
                    self.assertEqual(node.stop(), 0)
                self.assertEqual(stat.S_IMODE(os.stat(key).st_mode), 0o600)
                with open(pem, "rb") as file:
                    made = file.read()
            with Node("run", product("HelloWorker"), "--https", state=state):
                with open(pem, "rb") as file:
                    self.assertEqual(file.read(), made)
            text = subprocess.run(["openssl", "x509", "-in", pem, "-noout", "-ext", "subjectAltName,basicConstraints"],
                                  capture_output=True, text=True).stdout
            for part in ("DNS:localhost", "DNS:*.localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1", "CA:FALSE"):
                self.assertIn(part, text)
            # One at its end is replaced, and so is one whose key is gone.
            old = certificates.make(state, "old", ["localhost"], days=-1)
            os.replace(old[0], pem)
            os.replace(old[1], key)
            with Node("run", product("HelloWorker"), "--https", state=state) as node:
                self.assertEqual(exchange(connect(node.port))[1], b"hello")
            os.remove(key)
            with Node("run", product("HelloWorker"), "--https", state=state) as node:
                self.assertEqual(exchange(connect(node.port))[1], b"hello")
            # One that others can read is no secret any more: nothing is made up silently.
            os.chmod(key, 0o644)
            done = edge("run", product("HelloWorker"), "--https", "--state", state, "--listen", "127.0.0.1:0")
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"chmod 600 {key}", done.stderr)


class Files(unittest.TestCase):
    """Certificates that are configured: what is served, what is refused, and what a reload changes."""

    def setUp(self):
        self.project = Project(SHAPE, products=["HelloWorker"])
        self.folder = self.project.path("tls")
        os.makedirs(self.folder)
        self.write('listen = ["127.0.0.1:0"]\n')

    def tearDown(self):
        self.project.__exit__()

    def write(self, listen, tls='tls = { certificate = "tls/a.pem", key = "tls/a.key" }\n'):
        self.project.write("environments/staging.toml", STAGING + listen + tls)

    def arguments(self):
        return ["serve", "--environment", "staging", "--products", self.project.path(".build/debug"), "--key-file",
                self.project.path("key")]

    def serve(self):
        # Its own --listen would win over the file's.
        node = Node(*self.arguments(), cwd=self.project.directory, state=self.project.path("state"))
        return node

    def reload(self, node):
        count = node.log_text().count("the configuration was read again")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: node.log_text().count("the configuration was read again") > count, 20, node.log_text)

    def refused(self):
        done = edge(*self.arguments(), "--state", self.project.path("state"), "--control", "127.0.0.1:0",
                    cwd=self.project.directory)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_the_name_chooses_the_certificate(self):
        for name, hosts in (("a", ["localhost", "a.example"]), ("b", ["b.example", "*.b.example"]), ("c", ["x.b.example"])):
            certificates.make(self.folder, name, hosts, key="rsa" if name == "b" else "ec")
        self.write('listen = ["127.0.0.1:0"]\n', """[tls]
certificate = "tls/a.pem"
key = "tls/a.key"
certificates = [{ certificate = "tls/b.pem", key = "tls/b.key" }, { certificate = "tls/c.pem", key = "tls/c.key" }]
""")
        prints = {name: fingerprint_of(os.path.join(self.folder, name + ".pem")) for name in "abc"}
        with self.serve() as node:
            for host, name in (("localhost", "a"), ("a.example", "a"), ("b.example", "b"), ("B.Example", "b"),
                               ("y.b.example", "b"), ("x.b.example", "c"), ("x.y.b.example", "a"), ("unknown", "a"),
                               (None, "a"), (".b.example", "a"), ("127.0.0.1", "a")):
                if host == ".b.example":
                    continue  # Python's ssl refuses to ask for it.
                self.assertEqual(fingerprint(node.port, host), prints[name], host)
            # A session that began at one name isn't taken up at another.
            made = context(ssl.TLSVersion.TLSv1_3)
            with connect(node.port, "b.example", made) as connection:
                exchange(connection)
                session = connection.session
            with connect(node.port, "b.example", made, session) as connection:
                self.assertTrue(connection.session_reused)
            # ALPN holds for every certificate.
            with connect(node.port, "b.example", context(alpn=["h2", "http/1.1"])) as connection:
                self.assertEqual(connection.selected_alpn_protocol(), "h2")

    def test_files_that_can_not_be_used(self):
        certificate, key = certificates.make(self.folder, "a", ["localhost"])
        other = certificates.make(self.folder, "other", ["localhost"])
        past = certificates.make(self.folder, "past", ["localhost"], days=-1)

        def put(path, text):
            with open(path, "w") as file:
                file.write(text)

        with open(certificate) as file:
            good = file.read()
        with open(key) as file:
            good_key = file.read()
        encrypted = os.path.join(self.folder, "encrypted.key")
        certificates.run("pkcs8", "-topk8", "-in", key, "-passout", "pass:secret", "-out", encrypted)

        def configure(certificate, key):
            self.write('listen = ["127.0.0.1:0"]\n', f'tls = {{ certificate = "{certificate}", key = "{key}" }}\n')

        for pair, expected in (
                (("tls/none.pem", key), "tls/none.pem: No such file or directory"),
                ((certificate, "tls/none.key"), "tls/none.key: No such file or directory"),
                ((certificate, other[1]), "isn't that of the first certificate in"),
                ((key, key), "has no certificate in PEM form"),
                ((certificate, certificate), "has no private key in PEM form"),
                ((certificate, encrypted), "openssl pkey -in"),
                (past, "expired on 20")):
            os.chmod(pair[1], 0o600) if os.path.exists(pair[1]) else None
            configure(*pair)
            self.assertIn(expected, self.refused(), pair)
        configure(certificate, key)
        os.chmod(key, 0o644)
        self.assertIn(f"can be read by every user (mode 0644): chmod 600 {key}", self.refused())
        os.chmod(key, 0o600)
        put(certificate, good[:200] + "\n-----END CERTIFICATE-----\n")
        self.assertIn("a.pem: ", self.refused())
        put(certificate, good + good.replace("M", "N"))
        self.assertIn("a.pem: ", self.refused())
        put(certificate, good)
        put(key, good_key[:100] + "\n-----END PRIVATE KEY-----\n")
        self.assertIn("a.key: ", self.refused())
        put(key, good_key)
        put(os.path.join(self.folder, "large.pem"), good + "x" * (1 << 20))
        configure("tls/large.pem", key)
        self.assertIn("larger than 1048576 bytes", self.refused())
        unnamed = certificates.make(self.folder, "unnamed", [])
        self.write('listen = ["127.0.0.1:0"]\n',
                   f'[tls]\ncertificate = "tls/a.pem"\nkey = "tls/a.key"\n'
                   f'certificates = [{{ certificate = "{unnamed[0]}", key = "{unnamed[1]}" }}]\n')
        self.assertIn("names no host", self.refused())
        # No secret stands in any of it.
        self.assertNotIn(good_key.splitlines()[1], self.refused())

    def test_options_that_do_not_fit(self):
        done = edge(*self.arguments(), "--https", "--state", self.project.path("state"), cwd=self.project.directory)
        self.assertEqual(done.returncode, 64)
        self.assertIn("leave out --https", done.stderr)

    def test_a_reload_brings_certificates_and_loses_no_request(self):
        pem, _ = certificates.make(self.folder, "a", ["localhost"])
        with self.serve() as node:
            first = fingerprint_of(pem)
            made = context(ssl.TLSVersion.TLSv1_3)
            kept = connect(node.port, made=made)
            exchange(kept)
            session = kept.session
            failures, seen, done = [], set(), threading.Event()

            def ask():
                while not done.is_set():
                    try:
                        with connect(node.port) as connection:
                            seen.add(hashlib.sha256(connection.getpeercert(binary_form=True)).hexdigest())
                            for _ in range(2):
                                if exchange(connection)[1] != b"hello":
                                    failures.append("wrong answer")
                    except Exception as error:  # noqa: BLE001: whatever it is, a request was lost.
                        failures.append(repr(error))

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                prints = [first]
                for _ in range(3):
                    certificates.make(self.folder, "a", ["localhost"])
                    prints.append(fingerprint_of(pem))
                    self.reload(node)
                    self.assertEqual(fingerprint(node.port), prints[-1])
                wait_until(lambda: prints[-1] in seen, what="clients of the new certificate")
            finally:
                done.set()
                for thread in threads:
                    thread.join()
            self.assertEqual(failures, [])
            self.assertLessEqual(seen, set(prints))
            self.assertIn("setting=tls", node.log_text().replace('"setting":"tls"', "setting=tls"))
            # What was open goes on, and a session outlives the certificate that it began with.
            self.assertEqual(exchange(kept)[1], b"hello")
            kept.close()
            with connect(node.port, made=made, session=session) as connection:
                self.assertTrue(connection.session_reused)
            # Files that are wrong change nothing.
            with open(pem, "w") as file:
                file.write("nonsense")
            node.process.send_signal(signal.SIGHUP)
            node.wait_for_log("it goes on with the certificates that it has: ")
            self.assertEqual(fingerprint(node.port), prints[-1])
            self.assertEqual(node.stop(), 0)

    def test_plain_and_secure_addresses_and_the_redirect(self):
        certificates.make(self.folder, "a", ["localhost"])
        tls = '[tls]\ncertificate = "tls/a.pem"\nkey = "tls/a.key"\nlisten = ["127.0.0.1:0"]\n'
        self.write('listen = ["127.0.0.1:0"]\n', tls)
        with self.serve() as node:
            self.assertTrue(node.url.startswith("https://"))
            plain = self.plain_port(node)

            def ask(path, headers=None, method="GET", body=None, port=plain):
                return node.request(method, path, body=body, headers=headers, host="localhost", port=port)

            self.assertEqual(exchange(connect(node.port))[1], b"hello")
            # Plain clients are served, unless it is said that they are not.
            self.assertEqual(ask("/hello").text, "hello")
            self.assertIn("x-forwarded-proto: http\n", ask("/headers").text)
            self.write('listen = ["127.0.0.1:0"]\n', tls + "redirect = true\n")
            self.reload(node)
            for method, body in (("GET", None), ("POST", b"x" * 1000)):
                answer = ask("/hello?a=%20b", method=method, body=body)
                self.assertEqual((answer.status, answer.header("Location")),
                                 (308, f"https://localhost:{node.port}/hello?a=%20b"))
            self.assertEqual(ask("/cdn-cgi/trace").status, 308)
            self.assertTrue(node.raw(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400"))  # The TLS port, in the clear.
            with socket.create_connection(("127.0.0.1", plain), timeout=10) as nameless:
                nameless.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertTrue(read_to_end(nameless).startswith(b"HTTP/1.1 400"))
            # Who comes by way of a proxy that has ended TLS is where it belongs.
            self.assertEqual(ask("/hello", {"X-Forwarded-Proto": "https"}).status, 308)
            self.write('listen = ["127.0.0.1:0"]\ntrusted_proxies = ["127.0.0.1"]\n', tls + "redirect = true\n")
            self.reload(node)
            self.assertEqual(ask("/hello", {"X-Forwarded-Proto": "https"}).text, "hello")
            self.assertEqual(ask("/hello").status, 308)
            # Without tls, the address for https is gone and the other is plain again.
            self.write('listen = ["127.0.0.1:0"]\n', "")
            self.reload(node)
            self.assertEqual(ask("/hello").text, "hello")
            with self.assertRaises(ConnectionRefusedError):
                connect(node.port)
            # And all of it for https, on the same socket.
            self.write('listen = ["127.0.0.1:0"]\n')
            self.reload(node)
            self.assertEqual(exchange(connect(plain))[1], b"hello")
            self.assertIn("HTTPS port", ask("/hello").text)

    def plain_port(self, node):
        """Of the address without TLS, which the ready line leaves out."""
        def find():
            return re.search(r'address["=: ]+127\.0\.0\.1:(\d+)"?[, ]+"?scheme["=: ]+http\b(?!s)', node.log_text())

        # The log is written behind the ready line's back.
        wait_until(find, 20, node.log_text)
        return int(find().group(1))

    def test_a_route_of_https_alone(self):
        certificates.make(self.folder, "a", ["localhost"])
        self.project.edit("wrangler-like.toml", '"{domain}/*"', '"https://{domain}/*"')
        self.write('listen = ["127.0.0.1:0"]\ntrusted_proxies = ["127.0.0.1"]\n',
                   '[tls]\ncertificate = "tls/a.pem"\nkey = "tls/a.key"\nlisten = ["127.0.0.1:0"]\n')
        with self.serve() as node:
            with connect(node.port) as connection:
                self.assertEqual(exchange(connection)[1], b"hello")
                # A trusted proxy knows better how its client came.
                _, body = exchange(connection, "/headers", extra="X-Forwarded-Proto: http\r\n")
                self.assertIn(b"x-forwarded-proto: http\n", body)
                _, body = exchange(connection, "/headers")
                self.assertIn(b"x-forwarded-proto: https\n", body)
            self.assertEqual(node.request("GET", "/hello", host="localhost", port=self.plain_port(node)).status, 404)

    def test_dev_speaks_https(self):
        self.project.write("environments/dev.toml", "")
        with self.project.dev("--https") as node:
            with connect(node.port) as connection:
                self.assertEqual(exchange(connection)[1], b"hello")
            self.assertEqual(fingerprint(node.port), fingerprint_of(self.project.path("state/localhost.pem")))
            self.assertIn("curl --cacert", node.log_text())

    def test_many_handshakes_keep_nobody_waiting(self):
        # RSA is the slow one: a signature for each handshake.
        certificates.make(self.folder, "a", ["localhost"], key="rsa")
        self.write('listen = ["127.0.0.1:0"]\n',
                   '[tls]\ncertificate = "tls/a.pem"\nkey = "tls/a.key"\nlisten = ["127.0.0.1:0"]\n')
        with self.serve() as node:
            plain = self.plain_port(node)
            failures, done = [], threading.Event()

            def shake():
                try:
                    for _ in range(10):
                        with connect(node.port, timeout=60) as connection:
                            if exchange(connection)[1] != b"hello":
                                failures.append("wrong answer")
                except Exception as error:  # noqa: BLE001
                    failures.append(repr(error))

            threads = [threading.Thread(target=shake) for _ in range(40)]
            for thread in threads:
                thread.start()
            count = 0
            while any(thread.is_alive() for thread in threads):
                self.assertEqual(node.request("GET", "/hello", host="localhost", port=plain, timeout=10).text, "hello")
                count += 1
            done.set()
            self.assertEqual(failures, [])
            self.assertGreater(count, 0)
            self.assertEqual(counter(node, "edge_tls_handshakes_total"), 400)

    def test_a_drain_ends_handshakes_and_serves_what_has_come(self):
        certificates.make(self.folder, "a", ["localhost"])
        with self.serve() as node:
            silent = socket.create_connection(("127.0.0.1", node.port), timeout=30)
            with connect(node.port) as busy, connect(node.port) as idle:
                exchange(idle)
                busy.sendall(b"GET /sleep/500 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                wait_until(lambda: counter(node, "edge_connections") >= 3)
                node.process.send_signal(signal.SIGTERM)
                received = b""
                while piece := busy.recv(65536):
                    received += piece
                self.assertTrue(received.endswith(b"slept"))
                self.assertEqual(idle.recv(10), b"")  # Announced, or this would raise.
            self.assertEqual(silent.recv(10), b"")
            silent.close()
            self.assertEqual(node.process.wait(30), 0)
