"""AWS Signature Version 4 by hand, so that tests can get any part of it wrong."""

import datetime
import hashlib
import hmac
import json
import os
import urllib.parse
import urllib.request

EMPTY = hashlib.sha256(b"").hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def operator_pair(node):
    with open(os.path.join(node.state, "operator-token")) as file:
        token = file.read().strip()
    request = urllib.request.Request(
        node.control + "/client/v4/user/tokens/verify", headers={"Authorization": "Bearer " + token})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["result"]["id"], sha256(token.encode())


class Signer:
    def __init__(self, key, secret, host, offset_seconds=0, service="s3"):
        self.key, self.secret, self.host, self.service = key, secret, host, service
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset_seconds)
        self.time = now.strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.time[:8]}/auto/{service}/aws4_request"
        signing = ("AWS4" + secret).encode()
        for part in self.scope.split("/"):
            signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
        self.signing = signing

    def sign(self, text):
        return hmac.new(self.signing, text.encode(), hashlib.sha256).hexdigest()

    def string_to_sign(self, canonical):
        return f"AWS4-HMAC-SHA256\n{self.time}\n{self.scope}\n{sha256(canonical.encode())}"

    def headers(self, method, path, query="", headers=None, payload=EMPTY, without=()):
        """The headers of a signed request. `without`: those that are sent, and not signed."""
        sent = {"host": self.host, "x-amz-date": self.time, "x-amz-content-sha256": payload, **(headers or {})}
        signed = sorted(name for name in sent if name not in without)
        canonical = "\n".join([
            method, path, query, "".join(f"{name}:{sent[name]}\n" for name in signed), ";".join(signed), payload])
        self.seed = self.sign(self.string_to_sign(canonical))
        sent["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{self.scope}, SignedHeaders={';'.join(signed)}, "
            f"Signature={self.seed}")
        return sent

    def presign(self, method, path, expires=60, extra=None):
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{self.key}/{self.scope}", "X-Amz-Date": self.time,
            "X-Amz-Expires": str(expires), "X-Amz-SignedHeaders": "host", **(extra or {})}
        text = "&".join(
            f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}"
            for name, value in sorted(query.items()))
        canonical = f"{method}\n{path}\n{text}\nhost:{self.host}\n\nhost\nUNSIGNED-PAYLOAD"
        return f"{path}?{text}&X-Amz-Signature={self.sign(self.string_to_sign(canonical))}"

    def chunked(self, pieces, trailer=None, spoil=None):
        """A body of signed chunks behind `headers`, with a trailer line. `spoil`: the number of the chunk to sign wrongly."""
        previous, body = self.seed, b""
        for number, piece in enumerate([*pieces, b""]):
            text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.time}\n{self.scope}\n{previous}\n{EMPTY}\n{sha256(piece)}"
            previous = self.sign(text)
            shown = previous if number != spoil else "0" * 64
            body += f"{len(piece):x};chunk-signature={shown}\r\n".encode() + piece + (b"\r\n" if piece else b"")
        if trailer is None:
            return body + b"\r\n"
        digest = sha256((trailer + "\n").encode())
        signature = self.sign(f"AWS4-HMAC-SHA256-TRAILER\n{self.time}\n{self.scope}\n{previous}\n{digest}")
        if spoil == "trailer":
            signature = "0" * 64
        return body + f"{trailer}\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()
