"""What a node says of its API in /client/v4/openapi.json, against what it does: requests that Schemathesis makes of each
operation, valid and invalid ones, destructive ones included. No answer is a server error, and each has the form that the
document promises.

Operations are found in the document, so whatever is added to the API is covered. A failing run prints its seed; EDGE_SEED
repeats it.
"""

import json
import os
import random
import time
import unittest
import warnings

import hypothesis
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance, response_schema_conformance, status_code_conformance)

from harness import Node, product

SEED = int(os.environ.get("EDGE_SEED", 20261121))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# All of it, however many operations there are and however slow the machine is.
SECONDS = float(os.environ.get("EDGE_FUZZ_SECONDS", 40))
# What is made comes before what is asked for, and what is asked for before what is removed; what holds others goes last.
ORDER = {"POST": 0, "PUT": 1, "PATCH": 1, "GET": 2, "DELETE": 3}
NAMES = ("id", "name", "key", "tag", "uuid", "title", "ref")


class Enough(BaseException):
    """An operation's time is over. Not an Exception: Hypothesis would take it for a finding."""


class Known:
    """Names and ids that answers have told: most requests shall be about something that is there."""

    def __init__(self, account, protected):
        self.account = account
        self.protected = protected
        self.values = {}

    def learn(self, path, value, depth=0):
        """`path`: of the operation that has answered `value`."""
        if isinstance(value, dict):
            for name, item in value.items():
                if isinstance(item, str) and item and item not in self.protected and name.rsplit("_")[-1] in NAMES:
                    words = [word for word in path.split("/") if word and "{" not in word]
                    for known in (name, f"{words[-1].rstrip('s')}_{name}"):
                        self.values.setdefault(known, {})[item] = None
                else:
                    self.learn(path, item, depth + 1)
        elif isinstance(value, list) and depth < 8:
            for item in value[:20]:
                self.learn(path, item, depth + 1)

    def choose(self, parameter, place, generator):
        """A value for a parameter of a path; `place` is the word before it."""
        if parameter == "account_id":
            return self.account
        names = [f"{place.rstrip('s')}_{word}" for word in (parameter, "id", "name")] + [parameter]
        candidates = next((list(self.values[name]) for name in names if name in self.values), None)
        if candidates is None:
            word = parameter.rsplit("_")[-1]
            candidates = [item for name in (word, "id", "name") for item in self.values.get(name, ())]
        return generator.choice(candidates) if candidates else None


class OpenAPI(unittest.TestCase):
    seconds = 70

    @classmethod
    def setUpClass(cls):
        warnings.simplefilter("ignore")
        cls.node = cls.enterClassContext(Node(
            "run", product("StoreWorker"), "--kv", "KV", "--d1", "DB", "--r2", "R2=files", "--queue", "QUEUE=jobs",
            "--analytics", "POINTS", "--ratelimit", "API=5/10", "--worker", "shop.example.com=" + product("HelloWorker"),
            "--no-log-requests"))
        cls.url = cls.node.control + "/client/v4"
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            cls.session = requests.Session()
            cls.session.headers["Authorization"] = "Bearer " + file.read().strip()
        cls.document = cls.session.get(cls.url + "/openapi.json").json()
        cls.account = cls.session.get(cls.url + "/accounts").json()["result"][0]["id"]

    def tokens(self, count):
        """Each operation has one of its own: a token may make 1200 requests in five minutes."""
        groups = self.session.get(self.url + "/user/tokens/permission_groups").json()["result"]
        body = {"name": "fuzz", "policies": [{
            "effect": "allow", "resources": {"com.cloudflare.api.account.*": "*"},
            "permission_groups": [{"id": group["id"]} for group in groups]}]}
        made = [self.session.post(self.url + "/user/tokens", json=body).json()["result"] for _ in range(count)]
        own = [self.session.get(self.url + "/user/tokens/verify").json()["result"]["id"]]
        return [token["value"] for token in made], {token["id"] for token in made} | set(own)

    def test_the_document_names_each_operation_once(self):
        operations = [operation for path in self.document["paths"].values() for operation in path.values()]
        identities = [operation["operationId"] for operation in operations]
        self.assertEqual(len(identities), len(set(identities)))
        self.assertGreater(len(identities), 20)

    def test_every_operation_does_what_the_document_says(self):
        schema = schemathesis.openapi.from_dict(self.document)
        schema.config.update(base_url=self.url)
        operations = sorted(
            (result.ok() for result in schema.get_all_operations()),
            key=lambda operation: (
                ORDER.get(operation.method.upper(), 2),
                -operation.path.count("/") if operation.method.upper() == "DELETE" else operation.path.count("/"),
                operation.path))
        # It has the node end connections between two requests, which this client takes for a fault; `test_drain` asks it.
        # Two answer for as long as somebody reads; `test_rehearse` does.
        left_out = {"POST /edge/node/drain", "POST /accounts/{account_id}/edge/rehearsals",
                    "GET /accounts/{account_id}/edge/requests"}
        operations = [found for found in operations if found.label not in left_out]
        tokens, protected = self.tokens(len(operations))
        known, generator = Known(self.account, protected), random.Random(SEED)
        for operation in operations:
            path = operation.path.replace("{account_id}", self.account)
            if operation.method.upper() == "GET" and "{" not in path:
                answer = self.session.get(self.url + path, timeout=15)
                if "json" in answer.headers.get("content-type", ""):
                    known.learn(operation.path, answer.json())
        failures, calls, end = [], {}, time.monotonic() + SECONDS
        for index, operation in enumerate(operations):
            share = time.monotonic() + max(0.1, (end - time.monotonic()) / (len(operations) - index))
            calls[operation.label] = self.fuzz(operation, tokens[index], share, known, generator, failures)
        self.assertIsNone(self.node.process.poll(), self.node.log_text()[-3000:])
        self.assertEqual([label for label, count in calls.items() if count == 0], [])
        self.assertEqual(failures, [], f"EDGE_SEED={SEED}\n" + "\n\n".join(failures[:20]))

    def test_a_document_that_promises_something_else_is_noticed(self):
        document = json.loads(json.dumps(self.document))
        content = document["paths"]["/user"]["get"]["responses"]["200"]["content"]["application/json"]
        content["schema"]["properties"]["result"]["required"].append("shoe_size")
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=self.url)
        [operation] = [found for result in schema.get_all_operations() if (found := result.ok()).path == "/user"]
        [token], protected = self.tokens(1)
        failures = []
        self.fuzz(operation, token, time.monotonic(), Known(self.account, protected), random.Random(SEED), failures)
        self.assertIn("shoe_size", failures[0])

    def fuzz(self, operation, token, end, known, generator, failures):
        """Says how many requests were made."""
        count = 0
        places = operation.path.split("/")

        def call(case):
            nonlocal count
            if count >= least and time.monotonic() > end:
                raise Enough
            for name in list(case.path_parameters or {}):
                # Most are about what is there; the account, nearly all.
                if generator.random() < (0.97 if name == "account_id" else 0.8):
                    value = known.choose(name, places[max(0, places.index("{" + name + "}") - 1)], generator)
                    if value is not None:
                        case.path_parameters[name] = requests.utils.quote(value, safe="")
            try:
                response = case.call(
                    base_url=self.url, headers={"Authorization": "Bearer " + token}, timeout=15)
                case.validate_response(response, checks=CHECKS)
                if "json" in response.headers.get("content-type", [""])[0]:
                    known.learn(operation.path, response.json())
            except BaseException as failure:  # Checks, time-outs and broken connections alike.
                if isinstance(failure, KeyboardInterrupt):
                    raise
                failures.append(f"{case.as_curl_command()}\n{type(failure).__name__}: {str(failure)[:1500]}")
            count += 1

        last = end
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            # A few of each, whatever the time.
            least = count + 3
            end = time.monotonic() + (last - time.monotonic()) / 2 if mode is GenerationMode.POSITIVE else last
            try:
                run = hypothesis.given(case=operation.as_strategy(generation_mode=mode))(call)
                hypothesis.seed(SEED)(hypothesis.settings(
                    max_examples=30, deadline=None, database=None, phases=[hypothesis.Phase.generate],
                    suppress_health_check=list(hypothesis.HealthCheck))(run))()
            except Enough:
                continue
            except (hypothesis.errors.Unsatisfiable, schemathesis.errors.SchemathesisError):
                # There is nothing that this operation would have to refuse.
                if mode is GenerationMode.POSITIVE:
                    raise
        return count


if __name__ == "__main__":
    unittest.main()
