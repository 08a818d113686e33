"""A plain client of a node's REST API, with the operator's token."""

import json
import os


class Rest:
    def __init__(self, node, account="local"):
        self.node = node
        self.account = account
        with open(os.path.join(node.state, "operator-token")) as file:
            self.token = file.read().strip()

    def ask(self, method, path, body=None, token=None, **headers):
        """`path` is one below /client/v4; without a leading slash, below the account. What isn't text is sent as JSON."""
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if not path.startswith("/"):
            path = f"/accounts/{self.account}/{path}"
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.node.request(
            method, "/client/v4" + path, body=body, port=self.node.control_port,
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json", **headers})

    def result(self, method, path, body=None):
        answer = self.ask(method, path, body)
        assert answer.status == 200, (method, path, answer.status, answer.text)
        return answer.json().get("result")

    def failure(self, method, path, body=None, **keywords):
        """Status and first code."""
        answer = self.ask(method, path, body, **keywords)
        envelope = answer.json()
        assert envelope["success"] is False and envelope["result"] is None, answer.text
        return answer.status, envelope["errors"][0]["code"]
