"""What the suites of the S3 API share: tokens, the key pairs that they are, and clients."""

import hashlib
import json
import os
import urllib.request

import boto3
from botocore.config import Config


def operator_token(node):
    with open(os.path.join(node.state, "operator-token")) as file:
        return file.read().strip()


def call(node, method, path, body=None, token=None):
    request = urllib.request.Request(
        node.control + "/client/v4" + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + (token or operator_token(node)), "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["result"]


def make_token(node, permission="r2:edit", resource="com.cloudflare.api.account.local"):
    """A token's text, and the key pair that it is."""
    made = call(node, "POST", "/user/tokens", {"name": "s3", "policies": [
        {"effect": "allow", "resources": {resource: "*"}, "permission_groups": [{"id": permission}]}]})
    return made["value"], (made["id"], hashlib.sha256(made["value"].encode()).hexdigest())


def operator_pair(node):
    token = operator_token(node)
    return call(node, "GET", "/user/tokens/verify")["id"], hashlib.sha256(token.encode()).hexdigest()


def client(node, pair=None, style="path", session_token=None, **settings):
    key, secret = pair or operator_pair(node)
    verify = settings.pop("verify", None)
    return boto3.client(
        "s3", endpoint_url=settings.pop("endpoint", None) or node.s3, aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=session_token, region_name="auto", verify=verify,
        config=Config(
            signature_version="s3v4", retries={"max_attempts": 1}, s3={"addressing_style": style}, **settings))
