"""What the documents show is true: README's commands run and print that, its example compiles and serves, the tables agree
with the program, and the examples of docs/sdk.md stand in code that the compiler reads.

Comments in front of README's blocks say how they are taken:
    (none)                 run while the platform runs; must end with 0
    any exit code          as above; what is printed depends on the machine
    syntax                 only read by bash: these commands are what starts this test, or run for long
    start: dev, notes      starts a node, which the blocks behind it use
    with: notes            run against that node
    log: notes             no command: lines of that node's log
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import PRODUCTS, ROOT, Node, edge, product, wait_until
from projects import ASSETS

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


class Block:
    def __init__(self, match, document):
        self.mark = match["mark"] or ""
        self.language = match["language"]
        self.text = match["text"]
        self.end = match.end()
        self.start = match.start()
        self.line = document.count("\n", 0, match.start()) + 1
        self.expected = None


def blocks_of(document):
    """All fenced blocks; a `text` block right behind a `sh` block is what that one prints."""
    blocks = [Block(match, document) for match in FENCE.finditer(document)]
    for block, following in zip(blocks, blocks[1:]):
        between = document[block.end:following.start]
        if block.language == "sh" and following.language == "text" and not between.strip() and not following.mark:
            block.expected = following.text
    return blocks


def words(line):
    """What doesn't change from run to run: words without digits."""
    return {word for word in re.findall(r"[^\W_][\w./:-]*", line) if len(word) > 1 and not re.search(r"\d", word)}


def missing_lines(expected, actual):
    """Lines of `expected` whose words don't stand together in a line of `actual`; `…` stands for anything."""
    candidates = [words(line) for line in actual.splitlines()]
    missing = []
    for line in expected.splitlines():
        for part in line.split("…"):
            wanted = words(part)
            if wanted and not any(wanted <= candidate for candidate in candidates):
                missing.append(part)
    return missing


def make_project():
    """A copy of the project's files, with the products that are to be tested."""
    directory = tempfile.mkdtemp(prefix="edge-readme-")
    for name in ("environments", "migrations", "scripts", ASSETS):
        shutil.copytree(os.path.join(ROOT, name), os.path.join(directory, name))
    for name in ("wrangler-like.toml", "Makefile"):
        shutil.copy(os.path.join(ROOT, name), directory)
    os.mkdir(os.path.join(directory, ".build"))
    os.symlink(os.path.abspath(PRODUCTS), os.path.join(directory, ".build", "debug"))
    made = subprocess.run(["scripts/make-dev-vars"], cwd=directory, capture_output=True, text=True, check=True)
    return directory, made.stdout


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = read("README.md")
        cls.blocks = blocks_of(cls.document)
        cls.project, cls.made = make_project()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.project, ignore_errors=True)

    def assertShown(self, expected, actual, where):
        missing = missing_lines(expected, actual)
        self.assertEqual(missing, [], f"README line {where}: not printed; what was printed:\n{actual}")

    def test_every_command_runs_and_prints_what_is_shown(self):
        nodes = {}
        commands = [block for block in self.blocks if block.language == "sh" or block.mark.startswith("log:")]
        self.assertGreater(len(commands), 8)
        try:
            for block in commands:
                with self.subTest(line=block.line, mark=block.mark):
                    self.take(block, nodes)
        finally:
            for node in nodes.values():
                node.__exit__()

    def take(self, block, nodes):
        kind, _, name = block.mark.partition(": ")
        if kind == "log":
            node = nodes[name]
            wait_until(lambda: not missing_lines(block.text, node.log_text()), 10, f"README line {block.line} in the log")
            return
        syntax = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
        self.assertEqual(syntax.returncode, 0, syntax.stderr)
        lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
        if kind == "syntax":
            return self.assertKnown(lines)
        if kind == "start":
            # The last line serves until it is ended.
            self.assertKnown(lines)
            nodes[name] = self.start(lines[-1])
            printed = f"ready {nodes[name].url} control {nodes[name].control}"
            if block.expected:
                # The log has its own thread: its last lines may come after the line that the node is ready.
                shown = lambda: self.made + nodes[name].log_text() + printed
                end = time.monotonic() + 5
                while missing_lines(block.expected, shown()) and time.monotonic() < end:
                    time.sleep(0.05)
                self.assertShown(block.expected, self.made + nodes[name].log_text() + printed, block.line)
            return
        self.assertIn(kind, ("", "with", "any exit code"), f"README line {block.line}: unknown mark")
        node = nodes[name or "dev"]
        done = self.run_on(node, block.text)
        if kind == "any exit code":
            for layer in re.findall(r"^(?:active|partial|missing)\s+(\w+):", block.expected or "", re.MULTILINE):
                self.assertRegex(done.stdout, rf"(?m)^(active|partial|missing)\s+{layer}:")
            return
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        if block.expected:
            self.assertShown(block.expected, done.stdout + done.stderr, block.line)

    def start(self, line):
        arguments = shlex.split(line)
        if arguments == ["make", "dev"]:
            return Node("dev", "--no-build", "--no-watch", cwd=self.project).start()
        self.assertEqual(arguments[0], ".build/debug/edge")
        return Node(*arguments[1:], cwd=self.project).start()

    def run_on(self, node, script):
        script = script.replace("localhost:8787", f"localhost:{node.port}")
        # Where commands look when nothing else is said.
        state = os.path.join(self.project, "state", "dev")
        os.makedirs(os.path.dirname(state), exist_ok=True)
        if os.path.islink(state):
            os.unlink(state)
        os.symlink(node.state, state)
        script = script.replace("make demo", f"make --no-print-directory demo DEMO_URL={node.url}")
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.project, capture_output=True, text=True, timeout=180)

    def assertKnown(self, lines):
        """Commands that aren't run here at least exist."""
        targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
        for line in lines:
            arguments = shlex.split(line, comments=True)
            if arguments[0] == "make":
                self.assertIn(arguments[1], targets)
            elif arguments[:2] == ["swift", "build"]:
                name = arguments[arguments.index("--product") + 1]
                self.assertIn(f'"{name}"', read("Package.swift"))
            else:
                self.assertEqual(arguments[:2], [".build/debug/edge", "run"])

    def test_the_example_worker_is_the_one_that_compiles(self):
        shown = [block.text for block in self.blocks if block.language == "swift" and "@main" in block.text]
        self.assertEqual(shown, [read("Examples", "Notes", "Notes.swift")])

    def test_the_example_worker_becomes_a_part_of_the_platform(self):
        table = [block.text for block in self.blocks if block.language == "toml"]
        self.assertEqual(len(table), 1)
        project, _ = make_project()
        try:
            with open(os.path.join(project, "wrangler-like.toml"), "a") as file:
                file.write("\n" + table[0])
            done = edge("check", cwd=project)
            self.assertEqual((done.returncode, done.stdout), (0, "no findings\n"), done.stderr)
            with Node("dev", "--no-build", "--no-watch", cwd=project) as node:
                self.assertEqual(node.request("PUT", "/notes/milk", body=b"two litres", host="localhost").status, 201)
                self.assertEqual(node.get("/notes/milk", host="localhost").text, "two litres")
                self.assertEqual(node.get("/notes", host="localhost").json(), {"notes": ["milk"]})
                self.assertEqual(node.get("/api/health", host="localhost").status, 200)
        finally:
            shutil.rmtree(project, ignore_errors=True)

    def test_a_killed_isolate_is_replaced(self):
        with Node("dev", "--no-build", "--no-watch", cwd=self.project) as node:
            pids = next(w["pids"] for w in node.status()["workers"] if w["name"] == "api-gateway")
            for pid in pids:
                os.kill(pid, 9)
            self.assertEqual(node.get("/api/health", host="localhost").status, 200)

    def test_the_tables_name_every_command_and_no_other(self):
        help_text = edge("--help").stdout
        known = set(re.findall(r"^  ([a-z][a-z0-9-]*)  ", help_text, re.MULTILINE))
        shown = set(re.findall(r"^\| `edge ([a-z][a-z0-9-]*)", self.document, re.MULTILINE))
        self.assertEqual(shown, known)
        make = set(re.findall(r"^([a-z]+):.*##", read("Makefile"), re.MULTILINE)) - {"help", "setup"}
        self.assertEqual(set(re.findall(r"^\| `make ([a-z]+)`", self.document, re.MULTILINE)), make)
        for command in known:
            done = edge(command, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout.startswith(f"usage: edge {command} "), done.stdout)
            self.assertIn("--help", done.stdout)

    def test_exit_codes_are_the_documented_ones(self):
        documented = {int(code) for code in re.findall(r"^\| (\d+) \|", self.document, re.MULTILINE)}
        self.assertEqual(documented, {0, 1, 2, 64, 75, 130})
        self.assertEqual(edge("check", cwd=self.project).returncode, 0)
        self.assertEqual(edge("check", cwd=tempfile.gettempdir()).returncode, 2)
        done = edge("serve", "--env", "dev")
        self.assertEqual(done.returncode, 64)
        self.assertIn("did you mean --environment?", done.stderr)
        self.assertEqual(edge("status", "--control", "http://127.0.0.1:1").returncode, 1)
        with Node("run", product("HelloWorker")) as node:
            second = edge("run", product("HelloWorker"), "--listen", "127.0.0.1:0", "--state", node.state)
            self.assertEqual(second.returncode, 75, second.stderr)
            public = edge("status", "--control", node.url)
            self.assertEqual(public.returncode, 1)
            self.assertIn("control URL", public.stderr)
            self.assertEqual(node.stop(), 0)

    def test_dependencies_are_the_ones_that_are_installed(self):
        shown = set(re.findall(r"^\| [^|]+ \| (z?lib[\w-]+) \|", self.document, re.MULTILINE))
        installed = set(re.search(r"build\) packages\+=\(([^)]*)\)", read("scripts", "install-packages"))[1].split())
        self.assertEqual(shown, installed)
        self.assertEqual(shown, set(re.findall(r'apt: \["([\w-]+)"\]', read("Package.swift"))))


class Documents(unittest.TestCase):
    NAMES = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/sdk.md", "docs/configuration.md", "docs/api.md", "docs/cli.md"]

    def test_examples_of_the_sdk_stand_in_code_that_compiles(self):
        folder = os.path.join(ROOT, "Tests", "Support", "SDKExamples")
        # Where a line breaks is the formatter's business.
        code = " ".join(" ".join(read(folder, name) for name in sorted(os.listdir(folder))).split())
        examples = [b for b in blocks_of(read("docs", "sdk.md")) if b.language == "swift" and "import " not in b.text]
        self.assertGreater(len(examples), 15)
        for example in examples:
            for piece in re.split(r"\n\n(?=\S)", example.text.strip("\n")):
                self.assertIn(" ".join(piece.split()), code, f"docs/sdk.md line {example.line}")

    def test_commands_are_bash(self):
        for name in self.NAMES:
            for block in blocks_of(read(name)):
                if block.language == "sh":
                    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, f"{name} line {block.line}: {done.stderr}")

    def test_links_lead_somewhere(self):
        for name in self.NAMES:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read(name)):
                if "://" not in target:
                    path = os.path.join(ROOT, os.path.dirname(name), target)
                    self.assertTrue(os.path.exists(path), f"{name} links to {target}")

    def test_files_that_are_named_exist(self):
        files = ["/Package.swift"]
        for folder in ("Sources", "Tests", "Examples"):
            for path, _, names in os.walk(os.path.join(ROOT, folder)):
                files += [os.path.join("/", os.path.relpath(os.path.join(path, file), ROOT)) for file in names]
        for name in self.NAMES:
            if name == "CONTRIBUTING.md":
                continue  # It also names files that somebody would add.
            for mentioned in re.findall(r"`([\w/+.-]+\.(?:swift|c|h|py))`", read(name)):
                self.assertTrue(any(file.endswith("/" + mentioned) for file in files), f"{name} names {mentioned}")


if __name__ == "__main__":
    unittest.main()
