"""Coordinated cutovers: three nodes of one environment switch together or not at all, whoever dies."""

import json
import os
import shutil
import signal
import subprocess
import threading
import unittest
import uuid

from harness import PRODUCTS, Node, edge, product, wait_until
from projects import Project
from test_load_balancer import HOST, Load, Nodes, free_ports, haproxy

SHAPE = """format = 1
tenant = "shop"
compatibility_date = "2026-08-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
vars = { X = "first" }
smoke = [{ get = "/hello", status = 200 }]
"""
STAGING = """format = 1
domain = "shop.test"
listen = ["127.0.0.1:0"]
trusted_proxies = ["127.0.0.0/8"]
keep_warm = "1s"
[defaults]
isolates = { min = 1, max = 2 }
[deploy]
steps = [100]
bake = "0s"
monitor = "0s"
no_traffic = "promote"
"""


class Three(Nodes):
    """Three nodes that may be made to die. A context manager."""

    def __init__(self):
        super().__init__(Project(SHAPE, {"staging": STAGING}))
        self.faults = {}
        # Nodes that ask one another find those that came back where they were.
        self.control_ports = free_ports(3)

    def make(self, number):
        env = {name: value for name, value in os.environ.items() if name != "EDGE_FAULT"}
        if number in self.faults:
            env["EDGE_FAULT"] = self.faults[number]
        return Node("serve", "--environment", "staging", "--project", self.project.directory, "--products", PRODUCTS,
                    "--listen", f"127.0.0.1:{self.ports[number]}", "--control", f"127.0.0.1:{self.control_ports[number]}",
                    state=self.states[number], cwd=self.project.directory, env=env, deadline=90)

    def start_again(self, number, fault=None):
        """After its death, or to have it die."""
        self.nodes[number].__exit__(None, None, None)
        self.faults = {number: fault} if fault else {}
        self.nodes[number] = self.make(number).start()

    def __exit__(self, *_):
        super().__exit__()
        self.project.__exit__()

    def set(self, value):
        text = self.project.read("wrangler-like.toml")
        before, _, rest = text.partition('X = "')
        self.project.write("wrangler-like.toml", before + f'X = "{value}"' + rest.partition('"')[2])

    @property
    def names(self):
        return ",".join(self.states)

    def command(self, *words, nodes=None):
        return ["deploy", "--environment", "staging", "--products", PRODUCTS, "--nodes", nodes or self.names, *words]

    def deploy(self, *words, nodes=None, fault=None):
        env = dict(os.environ, EDGE_FAULT=fault) if fault else None
        return edge(*self.command(*words, nodes=nodes), cwd=self.project.directory, env=env)

    def begin(self, *words):
        return subprocess.Popen([product("edge"), *self.command(*words)], cwd=self.project.directory,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def status(self):
        done = edge("deploy", "status", "--environment", "staging", "--nodes", self.names, "--json",
                    cwd=self.project.directory)
        return done.returncode, json.loads(done.stdout)

    def served(self):
        return [node.get("/variable/X", host=HOST).text for node in self.nodes]

    def wait_for_agreement(self):
        """Until nothing is in progress and all serve the same."""
        wait_until(lambda: self.status()[0] == 0, 90, lambda: self.status())


class Group:
    """A deployment on all nodes that a test leads."""

    def __init__(self, nodes, bundle, lease):
        self.nodes, self.id, self.numbers = nodes.nodes, str(uuid.uuid4()), []
        names = ["a", "b", "c"]
        for number, node in enumerate(self.nodes):
            begun = self.post(number, "deployments", {"bundle": bundle, "coordination": {
                "id": self.id, "lease_seconds": lease, "node": names[number],
                "peers": [{"name": name, "url": other.control} for name, other in zip(names, self.nodes) if other is not node]}})
            assert begun.status == 200, begun.text
            self.numbers.append(begun.json()["result"]["deployment"]["number"])

    def call(self, number, method, path, body=None):
        node = self.nodes[number]
        return node.request(method, f"/client/v4/accounts/shop/edge/{path}", body=body, port=node.control_port,
                            headers={"authorization": f"Bearer {node.operator_token()}"})

    def post(self, number, path, body):
        return self.call(number, "POST", path, json.dumps(body))

    def record(self, number):
        return self.call(number, "GET", f"deployments/{self.numbers[number]}").json()["result"]

    def tell(self, number, word):
        done = self.post(number, f"deployments/{self.numbers[number]}/{word}", {"id": self.id})
        assert done.status == 200, done.text

    def wait_for(self, word):
        def all_have_come():
            for number in range(3):
                self.tell(number, "hold")
            return all((self.record(number)["coordination"] or {}).get("word") == word for number in range(3))
        wait_until(all_have_come, 90, lambda: [self.record(number) for number in range(3)])


def text_of(done):
    return f"{done.returncode}\n{done.stdout}\n{done.stderr}"


class Coordinated(unittest.TestCase):
    seconds = 150

    @classmethod
    def setUpClass(cls):
        cls.nodes = Three()
        cls.nodes.__enter__()
        cls.addClassCleanup(cls.nodes.__exit__)
        # From here on, nodes start with what was deployed.
        cls.nodes.set("base")
        done = cls.nodes.deploy()
        assert done.returncode == 0, text_of(done)

    def setUp(self):
        self.nodes.wait_for_agreement()
        self.before = self.nodes.served()[0]
        self.nodes.set(self.id())

    def assert_all(self, value):
        self.nodes.wait_for_agreement()
        self.assertEqual(self.nodes.served(), [value] * 3)

    @unittest.skipUnless(shutil.which("haproxy"), "no haproxy")
    def test_a_coordinated_cutover_behind_haproxy_fails_no_request(self):
        with haproxy(self.nodes) as balancer, Load(balancer.port, HOST) as load:
            for number in range(3):
                before = dict(load.counts)
                self.nodes.set(f"under load {number}")
                done = self.nodes.deploy()
                self.assertEqual(done.returncode, 0, text_of(done))
                self.assertEqual(self.nodes.served(), [f"under load {number}"] * 3)
                wait_until(lambda: load.counts and all(
                    load.counts.get(kind, 0) > before.get(kind, 0) for kind in load.counts), 60, "load")
        self.assertEqual(load.failures, [], load.counts)

    def test_one_node_that_refuses_keeps_all_on_the_release_before(self):
        places = [self.nodes.project.path(f"turn-{number}") for number in range(2)]
        # Whichever node asks third is refused.
        hook = " || ".join(f"mkdir {place} 2>/dev/null" for place in places)
        self.nodes.project.write("environments/staging.toml", STAGING + f"[hooks]\nconfirm_promotion = '{hook}'\n")
        self.addCleanup(self.nodes.project.write, "environments/staging.toml", STAGING)
        seen, ends = set(), threading.Event()

        def ask():
            while not ends.is_set():
                seen.update(self.nodes.served())

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            done = self.nodes.deploy()
        finally:
            ends.set()
            asking.join()
        self.assertEqual(done.returncode, 1, text_of(done))
        self.assertIn("can't prepare", done.stderr)
        self.assertIn("confirm_promotion", done.stderr)
        self.assertEqual(seen, {self.before})
        self.assert_all(self.before)
        self.nodes.project.write("environments/staging.toml", STAGING)
        self.assertEqual(self.nodes.deploy().returncode, 0)
        self.assert_all(self.id())

    def test_a_node_that_another_deployment_holds_keeps_all_back(self):
        one = edge("deploy", "--environment", "staging", "--products", PRODUCTS, "--state", self.nodes.states[2],
                   "--pause-at", "100", cwd=self.nodes.project.directory)
        self.assertEqual(one.returncode, 3, text_of(one))
        self.nodes.set("another")
        done = self.nodes.deploy()
        self.assertEqual(done.returncode, 75, text_of(done))
        self.assertEqual(self.nodes.status()[0], 3)
        self.assertEqual(edge("deploy", "abort", "--state", self.nodes.states[2]).returncode, 0)
        self.assert_all(self.before)

    def test_a_node_that_dies_prepared_and_comes_back_switches_with_the_others(self):
        self.nodes.start_again(2, "deployment:prepared")
        leader = self.nodes.begin()
        self.nodes.nodes[2].process.wait(timeout=120)
        self.nodes.start_again(2)
        output, errors = leader.communicate(timeout=120)
        self.assertEqual(leader.returncode, 0, output + errors)
        self.assert_all(self.id())

    def test_a_node_that_dies_prepared_and_stays_away_keeps_all_back(self):
        self.nodes.start_again(2, "deployment:prepared")
        done = self.nodes.deploy("--lease", "3s")
        self.assertEqual(done.returncode, 1, text_of(done))
        self.assertEqual([node.get("/variable/X", host=HOST).text for node in self.nodes.nodes[:2]], [self.before] * 2)
        self.nodes.start_again(2)
        self.assert_all(self.before)

    def test_after_a_partial_switch_all_go_back(self):
        # It dies of the word to switch, when the others may have obeyed already.
        self.nodes.start_again(2, "deployment:prepared:after-effect")
        done = self.nodes.deploy("--lease", "3s")
        self.assertEqual(done.returncode, 1, text_of(done))
        self.assertIn("can't switch", done.stderr)
        self.nodes.start_again(2)
        self.assert_all(self.before)

    def test_a_partial_switch_is_finished_by_a_node_that_comes_back(self):
        self.nodes.start_again(2, "deployment:prepared:after-effect")
        leader = self.nodes.begin()
        self.nodes.nodes[2].process.wait(timeout=120)
        self.nodes.start_again(2)
        output, errors = leader.communicate(timeout=120)
        self.assertEqual(leader.returncode, 0, output + errors)
        self.assert_all(self.id())

    def test_a_leader_that_is_killed_leaves_all_on_one_release(self):
        for step in ["prepared", "switching", "switched", "watched"]:
            with self.subTest(step=step):
                done = self.nodes.deploy("--lease", "2s", fault=f"leader:{step}")
                self.assertEqual(done.returncode, -signal.SIGKILL, text_of(done))
                self.assert_all(self.before)
        # One node was told to keep the release: the others learn it from that one.
        done = self.nodes.deploy("--lease", "2s", fault="leader:confirming")
        self.assertEqual(done.returncode, -signal.SIGKILL, text_of(done))
        self.assert_all(self.id())

    def test_probe_11_nodes_wait_for_one_that_was_told_to_keep_the_release_and_died(self):
        # This test is the leader, which deploys the bundle of before once more.
        nodes = self.nodes
        bundle = nodes.status()[1]["nodes"][nodes.states[0]]["bundle"]
        done = nodes.deploy()
        self.assertEqual(done.returncode, 0, text_of(done))
        group = Group(nodes, bundle, lease=8)
        group.wait_for("prepare")
        for number in range(3):
            group.tell(number, "switch")
        group.wait_for("watched")
        group.tell(0, "confirm")
        nodes.nodes[0].process.kill()
        nodes.nodes[0].process.wait(30)
        # It is away, and may know more than the others: they say so, and go on serving the release.
        for number in (1, 2):
            wait_until(lambda: "not reached" in (group.record(number)["pause"] or ""), 60, lambda: group.record(number))
            refused = group.post(number, f"deployments/{group.numbers[number]}/confirm", {"id": group.id})
            self.assertEqual(refused.status, 409, refused.text)
        shown = edge("deploy", "status", "--environment", "staging", "--nodes", ",".join(nodes.states[1:]),
                     cwd=nodes.project.directory)
        self.assertIn("not reached", shown.stderr)
        self.assertEqual([node.get("/variable/X", host=HOST).text for node in nodes.nodes[1:]], [self.before] * 2)
        nodes.start_again(0)
        self.assert_all(self.before)

    def test_ctrl_c_takes_all_back(self):
        self.nodes.start_again(2, "deployment:prepared")
        leader = self.nodes.begin()
        self.nodes.nodes[2].process.wait(timeout=120)
        leader.send_signal(signal.SIGINT)
        output, errors = leader.communicate(timeout=120)
        self.assertEqual(leader.returncode, 130, output + errors)
        self.assertEqual([node.get("/variable/X", host=HOST).text for node in self.nodes.nodes[:2]], [self.before] * 2)
        self.nodes.start_again(2)
        # Nobody holds its lease any more: it comes to the same by itself, or when it is told.
        edge("deploy", "abort", "--state", self.nodes.states[2])
        self.assert_all(self.before)

    def test_words_of_strangers_are_refused(self):
        node = self.nodes.nodes[0]

        def post(path, body):
            return node.request(
                "POST", f"/client/v4/accounts/shop/edge/{path}", body=json.dumps(body), port=node.control_port,
                headers={"authorization": f"Bearer {node.operator_token()}"})

        self.assertEqual(post("deployments/1/switch", {"id": "x"}).status, 409)
        self.assertEqual(post("deployments/1/switch", {}).status, 400)
        self.assertEqual(post("deployments/999/confirm", {"id": "x"}).status, 404)
        bundle = self.nodes.status()[1]["nodes"][self.nodes.states[0]]["bundle"]
        self.nodes.set("for strangers")
        one = self.nodes.begin()
        try:
            def prepared():
                found = node.request(
                    "GET", "/client/v4/accounts/shop/edge/deployments?per_page=1", port=node.control_port,
                    headers={"authorization": f"Bearer {node.operator_token()}"}).json()["result"][0]
                return found if found["coordination"] else None
            wait_until(prepared, 60, "a coordinated deployment")
            number = prepared()["number"]
            refused = post(f"deployments/{number}/confirm", {"id": "somebody else"})
            self.assertEqual(refused.status, 409, refused.text)
            for verb in ["resume", "promote"]:
                self.assertEqual(post(f"deployments/{number}/{verb}", {}).status, 409)
        finally:
            one.communicate(timeout=120)
        self.assertEqual(one.returncode, 0)
        self.assertNotEqual(self.nodes.status()[1]["nodes"][self.nodes.states[0]]["bundle"], bundle)

    def test_what_several_nodes_can_t_do_is_said(self):
        for words, reason in [
            (["--steps", "50,100"], "--steps beside --nodes"), (["--pause-at", "0"], "--pause-at beside --nodes"),
            (["--lease", "0s"], "1s to 1h"),
        ]:
            done = self.nodes.deploy(*words)
            self.assertEqual((done.returncode, reason in done.stderr), (64, True), text_of(done))
        twice = self.nodes.deploy(nodes=f"{self.nodes.states[0]},{self.nodes.states[0]}")
        self.assertEqual(twice.returncode, 64, text_of(twice))
        nobody = self.nodes.deploy(nodes=f"{self.nodes.states[0]},nobody")
        self.assertEqual(nobody.returncode, 64, text_of(nobody))
        self.assertIn("a node of staging", nobody.stderr)

    def test_nodes_have_names_and_tokens_in_the_environment(self):
        lines = "\n".join(f'n{number} = "{node.control}"' for number, node in enumerate(self.nodes.nodes))
        self.nodes.project.write("environments/staging.toml", STAGING + f"[nodes]\n{lines}\n")
        self.addCleanup(self.nodes.project.write, "environments/staging.toml", STAGING)
        env = dict(os.environ)
        for number, node in enumerate(self.nodes.nodes):
            env[f"EDGE_API_TOKEN_N{number}"] = node.operator_token()
        done = edge(*self.nodes.command(nodes="n0,n1,n2"), cwd=self.nodes.project.directory, env=env)
        self.assertEqual(done.returncode, 0, text_of(done))
        self.assert_all(self.id())


if __name__ == "__main__":
    unittest.main()
