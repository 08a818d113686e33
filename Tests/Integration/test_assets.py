"""Static files as the node serves them, in front of a worker, behind its binding and alone (spec: runtime, section 7)."""

import base64
import gzip
import hashlib
import http.client
import os
import random
import shutil
import socket
import subprocess
import unittest
import zlib

from harness import wait_until
from projects import Project

HEAD = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.front]
"""
WORKER = """product = "HelloWorker"
routes = ["{domain}/*"]
assets = { directory = "public", binding = "ASSETS"%s }
"""
ALONE = """routes = ["{domain}/*"]
assets = { directory = "public"%s }
"""
PAGE = "<h1>page</h1>"
SCRIPT = "console.log('a line of a script that is long enough to be compressed');\n" * 100

# Text that doesn't get much smaller.
NOISE = base64.b64encode(os.urandom(9 << 20))


def site(shape=WORKER, options="", files=None):
    """A project with files in `public`."""
    project = Project(HEAD + shape.replace("%s", options), {"dev": 'format = 1\ndomain = "localhost"\n'})
    for name, content in (files or {}).items():
        path = project.path("public/" + name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
    os.makedirs(project.path("public"), exist_ok=True)
    return project


FILES = {
    "index.html": "<h1>home</h1>", "file.html": PAGE, "folder/index.html": "<h1>folder</h1>", "script.js": SCRIPT,
    "a/b.txt": "b", "name with spaces.txt": "spaces", "api/static/x": "static x", "api/x": "never seen",
}


class Probes(unittest.TestCase):
    def test_probe_23_html_methods_paths_and_the_single_page(self):
        with site(options=', not_found = "single-page-application"', files=FILES) as project, project.dev() as node:
            def location(path, method="GET"):
                answer = node.request(method, path, host="localhost")
                self.assertEqual(answer.status, 307, path)
                return answer.header("Location")

            self.assertEqual(location("/file.html"), "/file")
            self.assertEqual(location("/file.html?a=1&b"), "/file?a=1&b")
            self.assertEqual(location("/folder"), "/folder/")
            self.assertEqual(location("/a//b.txt"), "/a/b.txt")
            self.assertEqual(location("/a%2Fb.txt"), "/a/b.txt")
            self.assertEqual(location("/%61/b.txt"), "/a/b.txt")
            self.assertEqual(node.get("/file", host="localhost").text, PAGE)
            self.assertEqual(node.get("/folder/", host="localhost").text, "<h1>folder</h1>")
            self.assertEqual(node.get("/name%20with%20spaces.txt", host="localhost").text, "spaces")
            refused = node.request("POST", "/file", b"body", host="localhost")
            self.assertEqual((refused.status, refused.header("Allow")), (405, "GET, HEAD"))
            # Where no file is, the worker takes any method, and a person going there gets the page.
            self.assertEqual(node.request("POST", "/echo", b"body", host="localhost").text, "body")
            self.assertEqual(node.get("/unknown", host="localhost").text, "GET http://localhost/unknown")
            navigation = node.get("/unknown", host="localhost", headers={"Sec-Fetch-Mode": "navigate"})
            self.assertEqual((navigation.status, navigation.text), (200, "<h1>home</h1>"))

    def test_probe_24_run_worker_first(self):
        options = ', run_worker_first = ["/api/*", "!/api/static/*"]'
        with site(options=options, files=FILES) as project, project.dev() as node:
            self.assertEqual(node.get("/api/x", host="localhost").text, "GET http://localhost/api/x")
            self.assertEqual(node.get("/api/static/x", host="localhost").text, "static x")
            # The rule gives it to the files alone: the worker isn't asked for what they don't have.
            missing = node.get("/api/static/y", host="localhost")
            self.assertEqual((missing.status, missing.body), (404, b""))
            self.assertEqual(node.get("/a/b.txt", host="localhost").text, "b")

    def test_probe_24_always(self):
        with site(options=", run_worker_first = true", files=FILES) as project, project.dev() as node:
            self.assertEqual(node.get("/a/b.txt", host="localhost").text, "GET http://localhost/a/b.txt")

    def test_probe_25_headers_and_redirects(self):
        files = FILES | {
            "_headers": "/file\n  X-A: one\n  ! ETag\n/*\n  X-A: two\n  Cache-Control: public, max-age=60\n",
            "_redirects": "/old/* /folder/ 301\n/old/page https://example.com/page 308\n/away /a/:x\n/u/:name /a/:name.txt 200\n",
        }
        with site(files=files) as project, project.dev() as node:
            answer = node.get("/file", host="localhost")
            self.assertEqual((answer.status, answer.text), (200, PAGE))
            self.assertEqual(answer.headers.get_all("X-A"), ["one, two"])
            self.assertEqual((answer.header("ETag"), answer.header("Cache-Control")), (None, "public, max-age=60"))
            redirect = node.get("/old/page?q=1", host="localhost")
            self.assertEqual((redirect.status, redirect.header("Location")), (308, "https://example.com/page?q=1"))
            redirect = node.get("/old/other", host="localhost")
            self.assertEqual((redirect.status, redirect.header("Location")), (301, "/folder/"))
            self.assertEqual(node.get("/away", host="localhost").status, 302)
            self.assertEqual(node.get("/u/b", host="localhost").text, "b")
            # What the worker answers is its own.
            self.assertIsNone(node.get("/hello", host="localhost").header("X-A"))
            # The files that say so are no files.
            self.assertEqual(node.get("/_headers", host="localhost").status, 404)


class Serving(unittest.TestCase):
    def test_tags_conditions_and_ranges(self):
        with site(files=FILES) as project, project.dev() as node:
            def get(**headers):
                return node.get("/script.js", host="localhost", headers={k.replace("_", "-"): v for k, v in headers.items()})

            answer = get()
            tag = answer.header("ETag")
            self.assertEqual(answer.text, SCRIPT)
            self.assertRegex(tag, r'^"[0-9a-f]{32}"$')
            self.assertEqual(answer.header("Content-Type"), "text/javascript; charset=utf-8")
            self.assertEqual(answer.header("Cache-Control"), "public, max-age=0, must-revalidate")
            self.assertEqual(answer.header("Accept-Ranges"), "bytes")
            for condition in (tag, "W/" + tag, f'"x", {tag}', "*"):
                same = get(If_None_Match=condition)
                self.assertEqual((same.status, same.body, same.header("ETag")), (304, b"", tag), condition)
            self.assertEqual(get(If_None_Match='"x"').status, 200)
            part = get(Range="bytes=10-19")
            self.assertEqual((part.status, part.text), (206, SCRIPT[10:20]))
            self.assertEqual(part.header("Content-Range"), f"bytes 10-19/{len(SCRIPT)}")
            self.assertIsNone(part.header("Cache-Control"))
            self.assertEqual(get(Range="bytes=-5").text, SCRIPT[-5:])
            self.assertEqual(get(Range="bytes=10-19", If_Range=tag).status, 206)
            self.assertEqual(get(Range="bytes=10-19", If_Range='"x"').text, SCRIPT)
            beyond = get(Range=f"bytes={len(SCRIPT)}-")
            self.assertEqual((beyond.status, beyond.header("Content-Range")), (416, f"bytes */{len(SCRIPT)}"))
            self.assertIsNone(get(Authorization="Bearer x").header("Cache-Control"))
            head = node.request("HEAD", "/script.js", host="localhost")
            self.assertEqual((head.status, head.header("Content-Length"), head.header("ETag"), head.body),
                             (200, str(len(SCRIPT)), tag, b""))

    def test_one_connection_serves_many(self):
        """Answers from files keep the connection in step, with and without a body on either side."""
        with site(files=FILES) as project, project.dev() as node:
            connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)
            for _ in range(3):
                for method, path, body, status, length in [
                    ("GET", "/script.js", None, 200, len(SCRIPT)), ("HEAD", "/script.js", None, 200, 0),
                    ("POST", "/script.js", b"small", 405, 0), ("GET", "/file.html", None, 307, 0),
                    ("GET", "/hello", None, 200, 5), ("GET", "/a/b.txt", b"a GET with a body", 200, 1),
                ]:
                    connection.request(method, path, body=body, headers={"Host": "localhost"})
                    answer = connection.getresponse()
                    self.assertEqual((answer.status, len(answer.read())), (status, length), (method, path))
            connection.close()

    def test_pipelined_requests_are_answered_in_order(self):
        with site(files=FILES) as project, project.dev() as node:
            paths = ["/a/b.txt", "/hello", "/script.js", "/missing-in-public", "/file", "/a/b.txt"]
            request = "".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths[:-1])
            received = node.raw(
                (request + f"GET {paths[-1]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").encode())
            bodies = []
            while received:
                head, rest = received.split(b"\r\n\r\n", 1)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                bodies.append(rest[:length].decode())
                received = rest[length:]
            self.assertEqual(
                bodies, ["b", "hello", SCRIPT, "GET http://localhost/missing-in-public", PAGE, "b"])

    def test_few_files_are_kept_open(self):
        files = {f"{number}.txt": f"{number}" for number in range(300)}
        with site(ALONE, files=files) as project, project.dev() as node:
            for _ in range(2):
                for number in range(300):
                    self.assertEqual(node.get(f"/{number}.txt", host="localhost").text, f"{number}")
            folder = f"/proc/{node.process.pid}/fd"
            paths = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder) if os.path.islink(f"{folder}/{name}")]
            self.assertIn(sum("/assets/" in path for path in paths), range(1, 129))

    def test_codings_made_beforehand(self):
        own = gzip.compress(SCRIPT.encode(), 1)
        files = FILES | {"own.js": SCRIPT, "own.js.gz": own, "stale.js": SCRIPT, "stale.js.gz": gzip.compress(b"old"),
                         "picture.png": b"x" * 5000, "tiny.js": "1"}
        with site(files=files) as project, project.dev() as node:
            def get(path, accept, **headers):
                return node.get(path, host="localhost", headers={"Accept-Encoding": accept} | headers)

            plain = node.get("/script.js", host="localhost")
            self.assertEqual((plain.header("Vary"), plain.header("Content-Encoding")), ("Accept-Encoding", None))
            zipped = get("/script.js", "gzip")
            self.assertEqual(zipped.header("Content-Encoding"), "gzip")
            self.assertEqual(gzip.decompress(zipped.body).decode(), SCRIPT)
            self.assertEqual(zipped.header("ETag"), "W/" + plain.header("ETag"))
            self.assertEqual(int(zipped.header("Content-Length")), len(zipped.body))
            self.assertEqual(get("/script.js", "gzip", **{"If-None-Match": zipped.header("ETag")}).status, 304)
            self.assertEqual(get("/script.js", "gzip, br").header("Content-Encoding"), "br")
            self.assertEqual(get("/script.js", "gzip, br;q=0.5").header("Content-Encoding"), "gzip")
            self.assertEqual(get("/script.js", "gzip;q=0, br;q=0").text, SCRIPT)
            self.assertEqual(get("/script.js", "gzip", Range="bytes=0-9").text, SCRIPT[:10])
            curl = subprocess.run(
                ["curl", "--silent", "--compressed", "--header", "Accept-Encoding: br", f"{node.url}/script.js"],
                capture_output=True, text=True, timeout=20)
            self.assertEqual(curl.stdout, SCRIPT)
            self.assertEqual(get("/own.js", "gzip").body, own)
            self.assertEqual(gzip.decompress(get("/stale.js", "gzip").body).decode(), SCRIPT)
            self.assertIn("not what it was made from", node.log_text())
            for path in ("/picture.png", "/tiny.js"):
                self.assertIsNone(get(path, "gzip, br").header("Content-Encoding"), path)
            head = node.request("HEAD", "/script.js", host="localhost", headers={"Accept-Encoding": "gzip"})
            self.assertEqual((head.header("Content-Encoding"), head.header("Content-Length")), ("gzip", str(len(zipped.body))))

    def test_404_page(self):
        files = FILES | {"404.html": "top", "folder/404.html": "nearest"}
        with site(ALONE, ', not_found = "404-page"', files) as project, project.dev() as node:
            self.assertEqual((node.get("/x/y", host="localhost").status, node.get("/x/y", host="localhost").text), (404, "top"))
            self.assertEqual(node.get("/folder/x/y", host="localhost").text, "nearest")

    def test_without_a_worker(self):
        with site(ALONE, files=FILES) as project, project.dev() as node:
            self.assertEqual(node.get("/file", host="localhost").text, PAGE)
            self.assertEqual(node.get("/missing", host="localhost").status, 404)
            # No file, no worker: there is nothing that a method could be wrong for.
            self.assertEqual(node.request("POST", "/missing", b"x", host="localhost").status, 404)
            self.assertEqual(node.request("POST", "/file", b"x" * 200_000, host="localhost").status, 405)
            self.assertEqual(node.isolate_pids(), [])

    def test_modes(self):
        expected = {"force-trailing-slash": "/file/", "drop-trailing-slash": "/file"}
        for mode, target in expected.items():
            with site(ALONE, f', html = "{mode}"', FILES) as project, project.dev() as node:
                self.assertEqual(node.get("/file.html", host="localhost").header("Location"), target, mode)
                self.assertEqual(node.get(target, host="localhost").text, PAGE, mode)
        with site(ALONE, ', html = "none"', FILES) as project, project.dev() as node:
            self.assertEqual(node.get("/file.html", host="localhost").text, PAGE)
            self.assertEqual(node.get("/file", host="localhost").status, 404)

    def test_binding(self):
        with site(options=', not_found = "404-page", run_worker_first = true',
                  files=FILES | {"404.html": "not there", "_headers": "/a/*\n  X-Rule: 1\n"}) as project, project.dev() as node:
            answer = node.get("/files/a/b.txt", host="localhost")
            self.assertEqual((answer.status, answer.text, answer.header("X-Rule")), (200, "b", "1"))
            self.assertEqual(node.get("/files/file.html", host="localhost").header("Location"), "/file")
            self.assertEqual(node.get("/files/missing", host="localhost").text, "not there")
            self.assertEqual(node.request("POST", "/files/file", b"x" * 200_000, host="localhost").status, 405)
            tag = answer.header("ETag")
            self.assertEqual(node.get("/files/a/b.txt", host="localhost", headers={"If-None-Match": tag}).status, 304)
            part = node.get("/files/script.js", host="localhost", headers={"Range": "bytes=5-9"})
            self.assertEqual((part.status, part.text), (206, SCRIPT[5:10]))
            head = node.request("HEAD", "/files/script.js", host="localhost")
            self.assertEqual((head.status, head.header("Content-Length")), (200, str(len(SCRIPT))))
            self.assertEqual(node.get("/file-length/script.js", host="localhost").text, f"200 {len(SCRIPT)}")
            # Plain for the worker, compressed on the way to the client.
            zipped = node.get("/files/script.js", host="localhost", headers={"Accept-Encoding": "gzip"})
            self.assertEqual(gzip.decompress(zipped.body).decode(), SCRIPT)
            self.assertTrue(zipped.header("ETag").startswith('W/"'))

    def test_behind_a_service_binding(self):
        shape = HEAD + """product = "HelloWorker"
routes = ["{domain}/*"]
services = [{ binding = "SERVICE", worker = "files" }]
[workers.files]
assets = { directory = "public" }
"""
        with Project(shape, {"dev": 'format = 1\ndomain = "localhost"\n'}) as project:
            project.write("public/a/b.txt", "b")
            with project.dev() as node:
                self.assertEqual(node.get("/service/a/b.txt", host="localhost").text, "b")
                self.assertEqual(node.get("/service/missing", host="localhost").status, 404)


class Releases(unittest.TestCase):
    seconds = 29

    def test_a_changed_file_is_a_new_release_and_the_old_one_keeps_its_own(self):
        with site(files=FILES) as project, project.dev() as node:
            before = node.get("/script.js", host="localhost").header("ETag")
            pids = node.isolate_pids()
            # Written in place, as a careless build would: a copy is served, so nobody sees half of it.
            with open(project.path("public/a/b.txt"), "w") as file:
                file.write("changed")
            project.write("public/new/page.html", "new")
            wait_until(lambda: node.get("/new/page", host="localhost").text == "new", 30, "the new page")
            wait_until(lambda: node.get("/a/b.txt", host="localhost").text == "changed", 30, "the change")
            os.unlink(project.path("public/file.html"))
            wait_until(lambda: node.get("/file", host="localhost").text == "GET http://localhost/file", 30, "the file's end")
            self.assertEqual(node.get("/script.js", host="localhost").header("ETag"), before)
            # The worker is the same, and stays warm.
            self.assertEqual(node.isolate_pids(), pids)
            # A mistake in a rule leaves the last good release serving.
            project.write("public/_redirects", "/* /index.html 200\n")
            node.wait_for_log("_redirects:1: this rule leads back to itself")
            self.assertEqual(node.get("/a/b.txt", host="localhost").text, "changed")
            stored = set(os.listdir(os.path.join(node.state, "assets")))
            project.write("public/_redirects", "/x /y\n")
            wait_until(lambda: node.get("/x", host="localhost").status == 302, 30, "the rule")
            project.write("public/_redirects", "/x2 /y\n")
            wait_until(lambda: node.get("/x2", host="localhost").status == 302, 30, "the next rule")
            # What no release has is removed, in the end.
            wait_until(lambda: len(os.listdir(os.path.join(node.state, "assets"))) < len(stored), 20, "less files")

    def test_a_directory_that_is_made_anew_is_followed(self):
        """As builds do: remove all they have put out, make it again."""
        for directory in ("public", "web/dist", "build/client"):
            with site(files=FILES) as project:
                project.edit("wrangler-like.toml", '"public"', f'"{directory}"')
                top = directory.split("/")[0]
                project.write(directory + "/a/b.txt", "b")
                with project.dev() as node:
                    for content in ("first", "second"):
                        shutil.rmtree(project.path(top))
                        project.write(directory + "/a/b.txt", content)
                        wait_until(lambda: node.get("/a/b.txt", host="localhost").text == content, 30, content)

    def test_an_open_download_keeps_its_file(self):
        """Two releases later the file is no longer in the store, and the client still gets all of it."""
        content = os.urandom(20 << 20)
        with site(files=FILES | {"large.bin": content}) as project, project.dev() as node:
            connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
            connection.request("GET", "/large.bin", headers={"Host": "localhost"})
            answer = connection.getresponse()
            received = answer.read(1000)
            stored = os.path.join(node.state, "assets", hashlib.sha256(content).hexdigest())
            self.assertTrue(os.path.exists(stored))
            os.unlink(project.path("public/large.bin"))
            for number in range(3):
                project.write("public/a/b.txt", f"change {number}")
                wait_until(lambda: node.get("/a/b.txt", host="localhost").text == f"change {number}", 30, "the change")
            wait_until(lambda: not os.path.exists(stored), 20, "the end of the file")
            self.assertEqual(received + answer.read(), content)
            connection.close()

    def test_what_a_crash_left_behind_is_removed(self):
        with site(ALONE, files=FILES) as project:
            with project.dev() as node:
                node.kill()
                assets = os.path.join(node.state, "assets")
                kept = set(os.listdir(assets))
                for name in ("incoming.1.2", "0" * 64):
                    with open(os.path.join(assets, name), "w") as file:
                        file.write("half")
            with project.dev() as node:
                self.assertEqual(node.get("/a/b.txt", host="localhost").text, "b")
                self.assertEqual(set(os.listdir(assets)), kept)

    def test_ignored_files_are_no_assets(self):
        files = FILES | {".assetsignore": "*.map\n/secret/\n!keep.map\n", "x.map": "x", "keep.map": "k", "secret/s.txt": "s",
                         ".dev.vars": "KEY=1", ".well-known/security.txt": "contact"}
        with site(ALONE, files=files) as project, project.dev() as node:
            for path in ("/x.map", "/secret/s.txt", "/.dev.vars", "/.assetsignore"):
                self.assertEqual(node.get(path, host="localhost").status, 404, path)
            for path in ("/keep.map", "/.well-known/security.txt"):
                self.assertEqual(node.get(path, host="localhost").status, 200, path)

    def refusal(self, shape=ALONE, options="", files=None):
        with site(shape, options, files) as project:
            node = project.dev(deadline=30)
            with self.assertRaises(RuntimeError) as caught:
                try:
                    node.start()
                finally:
                    node.kill()
            return str(caught.exception)

    def test_what_can_not_be_served_is_refused_before_anything_starts(self):
        with site(ALONE, files=FILES) as project:
            with open(project.path("public/film.bin"), "wb") as file:
                file.truncate((25 << 20) + 1)
            node = project.dev(deadline=30)
            with self.assertRaises(RuntimeError) as caught:
                node.start()
            self.assertIn(f"film.bin has {(25 << 20) + 1} bytes, and an asset at most {25 << 20}", str(caught.exception))
        with site(ALONE, files=FILES) as project:
            os.symlink("b.txt", project.path("public/a/inside.txt"))
            with project.dev() as node:
                self.assertEqual(node.get("/a/inside.txt", host="localhost").text, "b")
            for target, reason in (("/etc/passwd", "outside of the assets' directory"), ("..", "in a circle of links")):
                os.symlink(target, project.path("public/a/link"))
                with self.assertRaises(RuntimeError) as caught:
                    project.dev(deadline=30).start()
                self.assertIn(reason, str(caught.exception))
                os.unlink(project.path("public/a/link"))
        with site('limits = { profile = "cloudflare-free" }\n' + ALONE) as project:
            for number in range(20_001):
                open(project.path(f"public/{number}"), "w").close()
            with self.assertRaises(RuntimeError) as caught:
                project.dev(deadline=30).start()
            self.assertIn("more than 20000 files", str(caught.exception))
        self.assertIn("_headers:1: a header before the first path",
                      self.refusal(files={"_headers": "X-A: 1\n"}))
        self.assertIn("Content-Length is the node's own", self.refusal(files={"_headers": "/\n  Content-Length: 1\n"}))
        self.assertIn("a rewrite (200) leads to a path of this site",
                      self.refusal(files={"_redirects": "/a https://example.com 200\n"}))
        self.assertIn('name its product', self.refusal(options=', binding = "ASSETS"'))
        self.assertIn("no worker that could run first", self.refusal(options=", run_worker_first = true"))
        self.assertIn("at most 100 characters", self.refusal(WORKER, f', run_worker_first = ["/{"x" * 100}"]'))
        with Project(HEAD + ALONE.replace("%s", "").replace("public", "nowhere"),
                     {"dev": 'format = 1\ndomain = "localhost"\n'}) as project:
            with self.assertRaises(RuntimeError) as caught:
                project.dev(deadline=30).start()
            self.assertIn("which is no directory", str(caught.exception))


class Compression(unittest.TestCase):
    """Bodies of workers, compressed by the node (spec: runtime, section 1)."""

    seconds = 51

    def setUp(self):
        self.project = site(
            'isolates = { min = 1, max = 1, concurrency = 1024 }\n' + WORKER, files={"index.html": "x", "noise.txt": NOISE})
        self.addCleanup(self.project.__exit__)
        self.node = self.project.dev().start()
        self.addCleanup(self.node.__exit__)

    def get(self, path, accept="gzip", method="GET", **headers):
        headers = {"Accept-Encoding": accept} if accept else {}
        return self.node.request(method, path, host="localhost", headers=headers)

    def coding(self, path, accept="gzip"):
        return self.get(path, accept).header("Content-Encoding")

    def test_text_is_compressed_for_those_who_read_it(self):
        plain = self.get("/prose/100000", accept=None)
        self.assertEqual((len(plain.body), plain.header("Content-Length"), plain.header("Vary")), (100_000, "100000", "Accept-Encoding"))
        for path in ("/prose/100000?etag=%22tag%22", "/prose/100000?stream=1&etag=%22tag%22", "/prose/3000000"):
            zipped = self.get(path)
            self.assertEqual((zipped.header("Content-Encoding"), zipped.header("Vary")), ("gzip", "Accept-Encoding"), path)
            self.assertIsNone(zipped.header("Content-Length"))
            self.assertLess(len(zipped.body), 60_000)
            count = 3_000_000 if "3000000" in path else 100_000
            self.assertEqual(gzip.decompress(zipped.body)[:100_000], plain.body)
            self.assertEqual(len(gzip.decompress(zipped.body)), count)
        self.assertEqual(self.get("/prose/100000?etag=%22tag%22").header("ETag"), 'W/"tag"')
        for path in ("/prose/100000", "/prose/100000?stream=1"):
            curl = subprocess.run(
                ["curl", "--silent", "--compressed", "--header", "Accept-Encoding: br", "--dump-header", "-",
                 self.node.url + path], capture_output=True, timeout=20)
            self.assertIn(b"Content-Encoding: br", curl.stdout)
            self.assertEqual(curl.stdout.split(b"\r\n\r\n", 1)[1], plain.body)
        posted = self.get("/prose/100000", method="POST")
        self.assertEqual(gzip.decompress(posted.body), plain.body)
        self.assertEqual(self.coding("/prose/100000", "gzip, br"), "br")

    def test_what_is_left_as_it_is(self):
        for path in (
            "/prose/1000",  # too short to be worth it
            "/prose/100000?content-type=image/png", "/prose/100000?cache-control=public,no-transform",
            "/prose/100000?content-encoding=gzip", "/prose/100000?manual=1",
            "/prose/100000?content-range=bytes%200-99999/200000",
        ):
            answer = self.get(path)
            expected = "gzip" if "content-encoding" in path else None
            self.assertEqual(answer.header("Content-Encoding"), expected, path)
            self.assertEqual(len(answer.body), int(path.split("/")[2].split("?")[0]), path)
            self.assertIsNone(answer.header("Vary"), path)
        for accept in ("identity", "deflate", "gzip;q=0", "br;q=0, *;q=0"):
            self.assertIsNone(self.coding("/prose/100000", accept), accept)
        self.assertEqual(self.coding("/prose/100000", "*"), "br")
        varied = self.get("/prose/100000?vary=Accept-Encoding,Origin")
        self.assertEqual(varied.headers.get_all("Vary"), ["Accept-Encoding,Origin"])
        self.assertEqual(self.get("/prose/100000?etag=W/%22tag%22").header("ETag"), 'W/"tag"')
        old = self.node.raw(b"GET /prose/100000 HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        self.assertIn(b"Content-Length: 100000\r\n", old)

    def test_head_is_as_get_would_be(self):
        get = self.get("/prose/100000?etag=%22tag%22")
        head = self.get("/prose/100000?etag=%22tag%22", method="HEAD")
        for name in ("Content-Encoding", "Vary", "ETag", "Content-Type", "Content-Length"):
            self.assertEqual(head.header(name), get.header(name), name)
        self.assertEqual(head.body, b"")
        plain = self.get("/prose/1000", method="HEAD")
        self.assertEqual((plain.header("Content-Length"), plain.header("Content-Encoding")), ("1000", None))

    def test_what_was_said_so_far_arrives(self):
        """An event stream is compressed without being held back."""
        with self.node.connect(timeout=20) as connection:
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
            received = b""
            while b"\r\n\r\n" not in received or not self.first_event(received):
                piece = connection.recv(65536)
                self.assertTrue(piece, "the stream ended")
                received += piece
        self.assertIn(b"Content-Encoding: gzip", received)

    @staticmethod
    def first_event(received):
        rest, body = received.split(b"\r\n\r\n", 1)[1], b""
        while b"\r\n" in rest:
            size, rest = rest.split(b"\r\n", 1)
            body += rest[:int(size, 16)]
            rest = rest[int(size, 16) + 2:]
        return zlib.decompressobj(31).decompress(body) == b"data: event 1\n\n"

    def memory(self):
        with open(f"/proc/{self.node.process.pid}/status") as status:
            return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) << 10

    def test_a_slow_client_holds_a_window(self):
        """Thirty clients that read nothing of twelve megabytes each: the node holds a little for each of them."""
        self.assertEqual(gzip.decompress(self.get("/files/noise.txt").body), NOISE)
        before = self.memory()
        sockets = []
        for _ in range(30):
            connection = self.node.connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /files/noise.txt HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
            sockets.append(connection)
        for connection in sockets:
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200"))
        # Meanwhile others are served, which takes the node through many turns.
        for _ in range(50):
            self.assertEqual(self.get("/hello").status, 200)
        growth = self.memory() - before
        self.assertLess(growth, 30 * (4 << 20))
        for connection in sockets:
            connection.close()
        wait_until(lambda: self.node.status()["connections"] <= 1, 20, "the end of the connections")

    def test_clients_that_leave(self):
        """Downloads that end anywhere, compressed and not, from files and from workers: nothing is left of them."""
        paths = ["/files/noise.txt", "/noise.txt", "/prose/1000000", "/prose/1000000?stream=1", "/events", "/index"]
        generator = random.Random(7)
        for _ in range(300):
            path, accept = generator.choice(paths), generator.choice(["gzip", "br", "identity"])
            with self.node.connect() as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accept}\r\n\r\n".encode())
                # What can be read for certain: of some answers that is all there is.
                for _ in range(generator.randrange(4)):
                    connection.recv(generator.choice([1, 20, 60]))
        wait_until(lambda: self.node.status()["connections"] <= 1, 40, "the end of the connections")
        self.assertEqual(gzip.decompress(self.get("/files/noise.txt").body), NOISE)

    def test_more_at_once_than_may_be(self):
        """More compressors than may be are not made: those who come too late get the plain body, and all get theirs."""
        sockets = []
        for _ in range(700):
            connection = self.node.connect(timeout=30)
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: br\r\n\r\n")
            sockets.append(connection)
        try:
            heads = []
            for connection in sockets:
                received = b""
                while b"\r\n\r\n" not in received:
                    piece = connection.recv(65536)
                    self.assertTrue(piece)
                    received += piece
                heads.append(received)
            self.assertTrue(all(b" 200 " in head for head in heads))
            compressed = sum(b"Content-Encoding: br" in head for head in heads)
            self.assertGreater(compressed, 0)
            self.assertLess(compressed, 700)
        finally:
            for connection in sockets:
                connection.close()
        wait_until(lambda: self.coding("/prose/100000", "br") == "br", 20, "room for a compressor")
