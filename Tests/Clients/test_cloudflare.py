"""The official `cloudflare` SDK against a real node: who one is (spec control-plane, sections 1 to 4)."""

import os
import unittest

import cloudflare

from harness import Node, product


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        cls.url = cls.node.control + "/client/v4"
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            cls.token = file.read().strip()
        cls.client = cloudflare.Cloudflare(api_token=cls.token, base_url=cls.url)

    def test_probe_1_a_token_is_verified(self):
        self.assertEqual(self.client.user.tokens.verify().status, "active")
        stranger = cloudflare.Cloudflare(api_token="x" * 40, base_url=self.url)
        with self.assertRaises(cloudflare.AuthenticationError) as caught:
            stranger.user.tokens.verify()
        self.assertEqual(caught.exception.errors[0].code, 10000)

    def test_probe_2_a_key_beside_an_address(self):
        made = self.client.post(
            "/user/tokens",
            body={
                "name": "key", "email": "ops@example.com",
                "policies": [{
                    "effect": "allow", "resources": {"com.cloudflare.api.account.*": "*"},
                    "permission_groups": [{"id": "kv:read"}],
                }],
            },
            cast_to=object,
        )
        client = cloudflare.Cloudflare(api_key=made["result"]["value"], api_email="ops@example.com", base_url=self.url)
        self.assertEqual([account.name for account in client.accounts.list()], ["local"])

    def test_accounts_are_listed_once(self):
        self.assertEqual([account.type for account in self.client.accounts.list()], ["standard"])
