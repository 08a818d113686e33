"""What tests of TLS share: Python's ssl as the client, and what a node says of itself."""

import hashlib
import re
import socket
import ssl


def context(version=None, alpn=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if version:
        made.minimum_version = made.maximum_version = version
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


def connect(port, name="localhost", made=None, session=None, timeout=30):
    plain = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    try:
        return (made or context()).wrap_socket(plain, server_hostname=name, session=session, suppress_ragged_eofs=False)
    except BaseException:
        plain.close()
        raise


def exchange(connection, path="/hello", host="localhost", extra=""):
    """One request and its answer with Content-Length on a connection that stays open."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            raise AssertionError(f"ended in the head: {received}")
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < length:
        body += connection.recv(65536)
    return head.decode(), body


def fingerprint(port, name="localhost"):
    with connect(port, name) as connection:
        return hashlib.sha256(connection.getpeercert(binary_form=True)).hexdigest()


def fingerprint_of(path):
    with open(path) as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


def counter(node, name):
    text = node.request("GET", "/metrics", port=node.control_port).text
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name) and line[len(name)] in " {")


def resident(node):
    with open(f"/proc/{node.process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) << 10


def read_to_end(connection):
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except (ConnectionError, TimeoutError, ssl.SSLError):
        pass
    return received
