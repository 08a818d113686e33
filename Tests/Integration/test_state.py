"""`edge state`: archives that come back exactly, what is refused, what verification finds, and kill -9 in the middle."""

import glob
import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest

from harness import Node, edge, product, wait_until
from projects import Project
from test_cli_common import on_terminal
from test_tenants_api import ask

BINDINGS = ["--kv", "KV", "--d1", "DB", "--r2", "R2=bucket", "--queue", "QUEUE=jobs", "--analytics", "POINTS",
            "--no-log-requests"]
SEED = int(os.environ.get("EDGE_SEED", random.randrange(1 << 32)))


def token(node):
    with open(os.path.join(node.state, "operator-token")) as file:
        return file.read().strip()


def content(name, size):
    block = hashlib.sha256(name.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


class State(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.node = self.enterContext(Node("run", product("StoreWorker"), *BINDINGS))
        self.archive = os.path.join(self.folder, "state.tar")

    def state(self, *words, node=None, input=None):
        return edge("state", *words, "--state", (node or self.node).state, input=input)

    def assertDone(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def fill(self, mark, node=None):
        """Something in each store, told apart by `mark`."""
        node = node or self.node
        def put(path, body):
            answer = node.request("PUT", path, body)
            self.assertEqual(answer.status, 200, answer.text)
        def post(path, body):
            answer = node.request("POST", path, body)
            self.assertEqual(answer.status, 200, answer.text)
        put("/kv/key", mark)
        put("/kv/" + "long" * 120, mark)
        post("/d1/exec", "CREATE TABLE IF NOT EXISTS t (mark TEXT)")
        post("/d1/exec", f"DELETE FROM t; INSERT INTO t VALUES ('{mark}')")
        put("/r2/small", mark)
        put("/r2/large", content(mark, 3_000_000))
        post("/queue", mark)
        post("/points", json.dumps([{"indexes": [mark], "count": 5}]))

    def look(self, node=None):
        """What `fill` has put there, as far as it can be seen."""
        node = node or self.node
        points = node.request("POST", "/client/v4/accounts/local/analytics_engine/sql",
                              "SELECT index1, count() AS n FROM POINTS GROUP BY index1 ORDER BY index1 FORMAT JSON",
                              port=node.control_port, headers={"Authorization": f"Bearer {token(node)}"})
        return {
            "kv": node.get("/kv/key").body, "long": node.get("/kv/" + "long" * 120).body,
            "d1": node.get("/d1/scalar?sql=SELECT%20mark%20FROM%20t").text,
            "small": node.get("/r2/small").body, "large": hashlib.sha256(node.get("/r2/large").body).hexdigest(),
            "queue": node.get("/queue-backlog").text,
            "points": points.json().get("data") if points.status == 200 else points.text,
        }

    def left_behind(self, node=None):
        return glob.glob(os.path.join((node or self.node).state, ".work", "*"))


class Archives(State):
    def test_everything_comes_back_on_another_node(self):
        self.fill("one")
        before = self.look()
        self.assertDone(self.state("export", "--out", self.archive))
        self.assertEqual(os.listdir(self.folder), ["state.tar"])
        wait_until(lambda: not self.left_behind(), what="an empty work directory")
        with Node("run", product("StoreWorker"), *BINDINGS) as other:
            self.fill("two", other)
            done = self.assertDone(self.state("import", self.archive, "--yes", node=other))
            self.assertEqual(done.stdout, "imported local\n")
            self.assertEqual(self.look(other), before)
            self.assertDone(self.state("verify", "--checksums", node=other))
            self.assertEqual(self.left_behind(other), [])
            # Everything goes on, and is still there after kill -9.
            self.assertEqual(other.request("PUT", "/kv/later", b"1").status, 200)
            other.kill()
            other.start()
            self.assertEqual(self.look(other), before)
            self.assertEqual(other.get("/kv/later").body, b"1")

    def test_the_archive_is_one_that_others_can_check(self):
        self.fill("one")
        self.assertDone(self.state("export", "--out", self.archive))
        with tarfile.open(self.archive) as tar:
            members = tar.getmembers()
            tar.extractall(self.folder, filter="data")
        self.assertEqual((members[0].name, members[-1].name), ("edge-archive.json", "SHA256SUMS"))
        self.assertEqual({(member.mtime, member.uid, member.gid, member.mode) for member in members}, {(0, 0, 0, 0o600)})
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=self.folder, check=True)
        with open(os.path.join(self.folder, "SHA256SUMS")) as file:
            self.assertEqual([line[66:-1] for line in file], [member.name for member in members[:-1]])
        subprocess.run(["tar", "--list", "--file", self.archive], check=True, capture_output=True)

    def test_equal_stores_make_equal_archives(self):
        self.fill("one")
        self.assertDone(self.state("export", "--out", self.archive))
        second = self.assertDone(subprocess.run(
            [product("edge"), "state", "export", "--out", "-", "--tenant", "local", "--state", self.node.state],
            capture_output=True, timeout=60))
        with open(self.archive, "rb") as file:
            self.assertEqual(file.read(), second.stdout)

    def test_an_export_beside_writes_has_all_that_was_acknowledged_before(self):
        self.fill("one")
        stop, written = threading.Event(), []

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                body = content(str(number), 200_000)
                # Always the same key: each put takes a file out of use.
                if self.node.request("PUT", "/r2/churn", body).status == 200:
                    self.node.request("PUT", f"/kv/n/{number}", b"x")
                    written.append(number)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            wait_until(lambda: len(written) > 3)
            for round in range(3):
                known = list(written)
                self.assertDone(self.state("export", "--out", self.archive))
        finally:
            stop.set()
            thread.join()
        with Node("run", product("StoreWorker"), *BINDINGS) as other:
            self.assertDone(self.state("import", self.archive, "--yes", node=other))
            self.assertDone(self.state("verify", "--checksums", node=other))
            churn = other.get("/r2/churn").body
            self.assertIn(churn, [content(str(number), 200_000) for number in range(known[-1], written[-1] + 2)])
            for number in known:
                self.assertEqual(other.get(f"/kv/n/{number}").status, 200, number)
        # What was kept for the copies goes, too.
        wait_until(lambda: len(glob.glob(os.path.join(self.node.state, "local/r2/blobs/*/*"))) == 2, what="two files")

    def test_several_tenants_in_one_archive(self):
        self.fill("one")
        self.assertEqual(ask(self.node, "POST", "/accounts", {"name": "acme"})[0], 200)
        self.assertDone(self.state("export", "--out", self.archive))
        with tarfile.open(self.archive) as tar:
            description = json.load(tar.extractfile("edge-archive.json"))
        self.assertEqual(description["tenants"], ["acme", "local"])
        with Node("run", product("StoreWorker"), *BINDINGS) as other:
            refused = self.state("import", self.archive, "--yes", node=other)
            self.assertEqual(refused.returncode, 1)
            self.assertIn('has the tenant "acme", which this node doesn\'t', refused.stderr)
            self.assertEqual(ask(other, "POST", "/accounts", {"name": "acme"})[0], 200)
            self.assertDone(self.state("import", self.archive, "--yes", node=other))
            self.assertEqual(self.look(other), self.look())
            one = self.state("import", self.archive, "--yes", "--tenant", "acme", node=other)
            self.assertEqual(one.returncode, 1)
            self.assertIn("the archive is of acme, local, not of acme", one.stderr)


class Refusals(State):
    def assertRefused(self, archive, text):
        path = os.path.join(self.folder, "bad.tar")
        with open(path, "wb") as file:
            file.write(archive)
        done = self.state("import", path, "--yes")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(text, done.stderr)
        self.assertEqual(self.left_behind(), [])

    def rebuild(self, change):
        """The archive with its members changed, and sums that fit."""
        made = io.BytesIO()
        sums = ""
        with tarfile.open(self.archive) as old, tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as new:
            for member in old.getmembers():
                body = old.extractfile(member).read()
                if member.name == "SHA256SUMS":
                    body = sums.encode()
                name, body = change(member.name, body)
                if name is None:
                    continue
                sums += f"{hashlib.sha256(body).hexdigest()}  {name}\n"
                entry = tarfile.TarInfo(name)
                entry.size = len(body)
                new.addfile(entry, io.BytesIO(body))
        return made.getvalue()

    def test_archives_that_are_not_whole_change_nothing(self):
        self.fill("one")
        self.assertDone(self.state("export", "--out", self.archive))
        self.fill("two")
        present = self.look()
        with open(self.archive, "rb") as file:
            whole = file.read()
        generator = random.Random(SEED)
        with tarfile.open(self.archive) as tar:
            bodies = [(member.name, member.offset_data, member.size) for member in tar.getmembers() if member.size]
        with self.subTest(seed=SEED):
            for name, offset, size in [generator.choice(bodies) for _ in range(6)]:
                place = offset + generator.randrange(size)
                changed = bytearray(whole)
                changed[place] ^= 1 << generator.randrange(8)
                # The description may become one that can't be read at all.
                self.assertRefused(bytes(changed), "archive")
            self.assertRefused(b"", "must be an archive")
            for length in (100, 512, 700, len(whole) // 2, len(whole) - 1024 - 512):
                self.assertRefused(whole[:length], "cut short")
        self.assertRefused(b"no archive " * 100, "no tape archive")
        self.assertRefused(self.rebuild(lambda name, body: (None, b"") if name == "SHA256SUMS" else (name, body)), "no SHA256SUMS")
        self.assertEqual(self.look(), present)
        self.assertDone(self.state("verify"))

    def test_archives_that_someone_has_made(self):
        self.fill("one")
        self.assertDone(self.state("export", "--out", self.archive))
        # As it should be, so that what follows isn't refused for another reason.
        with open(os.path.join(self.folder, "same.tar"), "wb") as file:
            file.write(self.rebuild(lambda name, body: (name, body)))
        self.assertDone(self.state("import", os.path.join(self.folder, "same.tar"), "--yes"))
        for path in ("../../../escaped", "tenants/local/../../escaped", "/etc/escaped", "tenants/local/kv/../../../escaped",
                     "tenants/other/kv/data.mdb", "tenants/local/artifacts/x", "tenants/local//kv/x", "control.sqlite"):
            with self.subTest(path=path):
                self.assertRefused(
                    self.rebuild(lambda name, body: (path if name.endswith("queues/data.mdb") else name, body)),
                    "has a member that doesn't belong there")
        self.assertEqual(glob.glob(os.path.join(self.node.state, "**/escaped"), recursive=True), [])
        later = self.rebuild(lambda name, body: (name, b"edge-kv 99\n" if name.endswith("kv/format") else body))
        self.assertRefused(later, 'the archive has the format "edge-kv 99"')
        link = io.BytesIO()
        with tarfile.open(self.archive) as old, tarfile.open(fileobj=link, mode="w") as new:
            first = old.getmembers()[0]
            new.addfile(first, old.extractfile(first))
            entry = tarfile.TarInfo("tenants/local/kv/data.mdb")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            new.addfile(entry)
        self.assertRefused(link.getvalue(), "has a member that doesn't belong there")

    def test_destruction_asks(self):
        self.fill("one")
        self.assertDone(self.state("export", "--out", self.archive))
        for words in (["import", self.archive], ["reset"]):
            done = subprocess.run([product("edge"), "state", *words, "--state", self.node.state], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 64)
            self.assertIn("say so with --yes", done.stderr)
        self.assertEqual(self.look()["kv"], b"one")

    def test_who_may(self):
        made = edge("token", "create", "t", "--allow", "tenants:read", "--allow", "kv:edit", "--state", self.node.state)
        reader = made.stdout.strip()
        for method, path, status in [
            ("GET", "/accounts/local/state/export", 403), ("GET", "/state/export", 403), ("POST", "/state/import", 403),
            ("POST", "/accounts/local/state/import", 403), ("DELETE", "/accounts/local/state", 403),
            ("POST", "/accounts/local/state/verification", 403), ("GET", "/accounts/local/state/verification", 200),
        ]:
            with self.subTest(method=method, path=path):
                self.assertEqual(ask(self.node, method, path, token=reader)[0], status)


class Reset(State):
    def test_stores_are_empty_and_the_workers_go_on(self):
        self.fill("one")
        self.assertEqual(self.assertDone(self.state("reset", "--yes")).stdout, "emptied local\n")
        self.assertEqual(self.node.get("/kv/key").status, 404)
        self.assertEqual(self.node.get("/r2/large").status, 404)
        self.assertEqual(self.node.get("/queue-backlog").text, "0")
        self.fill("two")
        self.assertEqual(self.look()["kv"], b"two")
        self.assertDone(self.state("verify"))
        self.assertEqual(self.left_behind(), [])


class Verification(State):
    def test_damage_is_found_and_leftovers_are_mended(self):
        self.fill("one")
        sound = self.assertDone(self.state("verify"))
        # The catalog of databases is one, too.
        self.assertRegex(sound.stdout, r"^local: sound \(kv: 1 namespaces, 2 keys; d1: 2 databases; r2: 2 objects")
        self.assertIn("cache: 0 responses; artifacts: 1 executables; control: ", sound.stdout)
        [blob] = glob.glob(os.path.join(self.node.state, "local/r2/blobs/*/*"))
        orphan = os.path.join(os.path.dirname(blob), os.path.basename(blob)[:-8] + "00000000")
        with open(orphan, "wb") as file:
            file.write(b"x")
        found = self.state("verify", "--json")
        self.assertEqual(found.returncode, 1)
        report = json.loads(found.stdout)["local"]
        self.assertEqual((report["sound"], report["finding_count"]), (False, 1))
        self.assertEqual((report["findings"][0]["store"], report["findings"][0]["advice"]), ("r2", "--repair mends it"))
        mended = json.loads(self.assertDone(self.state("verify", "--repair", "--json")).stdout)["local"]
        self.assertEqual([finding["repaired"] for finding in mended["findings"]], [True])
        self.assertFalse(os.path.exists(orphan))
        self.assertDone(self.state("verify"))
        # Changed bytes show in their checksum alone; a file that was cut shows at once.
        with open(blob, "r+b") as file:
            file.write(b"changed")
        self.assertDone(self.state("verify"))
        deep = self.state("verify", "--checksums")
        self.assertEqual(deep.returncode, 1)
        self.assertIn('object "large" in bucket bucket', deep.stdout)
        os.truncate(blob, 1000)
        cut = self.state("verify", "--repair")
        self.assertEqual(cut.returncode, 1)
        self.assertIn("has 1000 bytes instead of 3000000", cut.stdout)
        self.assertIn("upload it again, or import an export", cut.stdout)
        [executable] = glob.glob(os.path.join(self.node.state, "artifacts/*"))
        with open(executable, "rb") as file:
            whole = file.read()
        # Written to the side: a file that runs can't be changed in place.
        with open(executable + ".new", "wb") as file:
            file.write(whole[:-1] + b"x")
        os.rename(executable + ".new", executable)
        self.assertIn("deploy the worker again", self.state("verify").stdout)
        segment = glob.glob(os.path.join(self.node.state, "local/analytics/POINTS/*.points"))[0]
        os.truncate(segment, os.stat(segment).st_size - 3)
        self.assertIn("something is torn or changed", self.state("verify").stdout)


class OnATerminal(State):
    def test_progress_of_exports_and_imports(self):
        self.fill("one")
        code, shown = on_terminal("state", "export", "--out", self.archive, "--state", self.node.state)
        self.assertEqual(code, 0, shown)
        # How much there will be isn't known before.
        self.assertRegex(shown, r"export  [\d.]+ MiB  [\d.]+ [KMG]iB/s")
        code, shown = on_terminal("state", "import", self.archive, "--yes", "--state", self.node.state)
        self.assertEqual(code, 0, shown)
        self.assertRegex(shown, r"import  \[=+\]  100 %  [\d.]+ MiB / [\d.]+ MiB  [\d.]+ [KMG]iB/s")
        done = self.assertDone(self.state("export", "--out", self.archive))
        self.assertEqual((done.stdout, done.stderr), ("", ""))

    def test_an_answer_decides(self):
        self.fill("one")
        code, shown = on_terminal("state", "reset", "--state", self.node.state, stdin="terminal", input=b"n\n")
        self.assertEqual(code, 1)
        self.assertIn("Delete all that local has stored? [y/N]", shown)
        self.assertIn("not confirmed: nothing was changed", shown)
        self.assertEqual(self.look()["kv"], b"one")
        code, shown = on_terminal("state", "reset", "--state", self.node.state, stdin="terminal", input=b"y\n")
        self.assertEqual(code, 0, shown)
        self.assertEqual(self.node.get("/kv/key").status, 404)


class Secrets(unittest.TestCase):
    VALUE = "correct-horse-battery-staple"
    SHAPE = ('format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n[workers.hello]\nproduct = "HelloWorker"\n'
             'routes = ["{domain}/*"]\nsecrets = ["KEY"]\n')
    STAGING = 'format = 1\ndomain = "staging.example"\nlisten = ["127.0.0.1:0"]\n'

    def test_they_stay_sealed_and_need_their_key(self):
        with tempfile.TemporaryDirectory() as folder, Project(self.SHAPE, {"staging": self.STAGING}) as project:
            def secret(key, state, value):
                done = edge("secret", "put", "KEY", "--env", "staging", "--state", state, "--key-file", key, input=value,
                            cwd=project.directory)
                self.assertEqual(done.returncode, 0, done.stderr)

            def node(key, state):
                return Node("serve", "--environment", "staging", "--products", project.path(".build/debug"), "--key-file", key,
                            state=state, cwd=project.directory)

            def length(node):
                return node.get("/secret-length/KEY", host="staging.example").text

            key, other = os.path.join(folder, "key"), os.path.join(folder, "other")
            states = [os.path.join(folder, name) for name in ("a", "b")]
            archive = os.path.join(folder, "state.tar")
            secret(key, states[0], self.VALUE)
            with node(key, states[0]) as first:
                done = edge("state", "export", "--out", archive, "--state", states[0])
                self.assertEqual(done.returncode, 0, done.stderr)
            with open(archive, "rb") as file:
                self.assertNotIn(self.VALUE.encode(), file.read())
            secret(key, states[0], "another")
            with node(key, states[0]) as first:
                self.assertEqual(length(first), "7")
                done = edge("state", "import", archive, "--yes", "--state", states[0])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(length(first), str(len(self.VALUE)))
            secret(other, states[1], "third")
            with node(other, states[1]) as second:
                done = edge("state", "import", archive, "--yes", "--state", states[1])
                self.assertEqual(done.returncode, 1)
                self.assertIn("are sealed with the key", done.stderr)
                self.assertEqual(length(second), "5")
                done = edge("state", "import", archive, "--yes", "--keep-secrets", "--state", states[1])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(length(second), "5")


class KillTheImport(State):
    """kill -9 at any moment leaves all of the old state, or all of the new."""

    def test_old_or_new(self):
        self.fill("one")
        new = self.look()
        self.assertDone(self.state("export", "--out", self.archive))
        generator = random.Random(SEED)
        outcomes = {"old": 0, "new": 0}
        with self.subTest(seed=SEED):
            for round in range(12):
                self.assertDone(self.state("reset", "--yes"))
                self.fill("two")
                old = self.look()
                command = subprocess.Popen(
                    [product("edge"), "state", "import", self.archive, "--yes", "--state", self.node.state],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                # Until the replacement is decided little happens; after it, quickly. Both are to be met.
                if round % 2:
                    decided = os.path.join(self.node.state, ".work", "replacement-*", "decided")
                    end = time.monotonic() + 20
                    while not glob.glob(decided) and command.poll() is None and time.monotonic() < end:
                        pass
                else:
                    time.sleep(generator.random() * 0.02 * round)  # The first comes before anything can be decided.
                self.node.kill()
                command.wait(30)
                self.node.start()
                found = self.look()
                self.assertIn(found, (old, new))
                outcomes["old" if found == old else "new"] += 1
                self.assertDone(self.state("verify", "--checksums"))
                self.assertEqual(self.left_behind(), [])
        self.assertGreater(outcomes["old"], 0, outcomes)
        self.assertGreater(outcomes["new"], 0, outcomes)


if __name__ == "__main__":
    unittest.main()
