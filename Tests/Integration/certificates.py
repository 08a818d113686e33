"""Certificates for tests, made with openssl(1): a client's view of them that isn't ours."""

import os
import subprocess
import time


def run(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make(folder, name, hosts, days=30, key="ec"):
    """A self-signed certificate and its key; the paths of both. A negative number of days is in the past."""
    certificate, private = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else ["-newkey", "rsa:2048"]
    names = ["-addext", "subjectAltName=" + ",".join("DNS:" + host for host in hosts)] if hosts else []
    # To the side and renamed: a node may be reading the old ones.
    request = ["req", *kind, "-nodes", "-subj", f"/CN={name}", *names, "-keyout", private + ".new"]
    if days > 0:
        run(*request, "-x509", "-days", str(days), "-out", certificate + ".new")
    else:
        # `req` makes none that have ended; `ca` does.
        end = time.gmtime(time.time() + 86400 * days)
        start = time.gmtime(time.time() + 86400 * (days - 30))
        run(*request, "-new", "-out", private + ".csr")
        with open(private + ".cnf", "w") as file:
            file.write(f"[ca]\ndefault_ca = d\n[d]\ndatabase = {private}.db\nnew_certs_dir = {folder}\ndefault_md = sha256\n"
                       "rand_serial = yes\npolicy = p\ncopy_extensions = copy\nunique_subject = no\n[p]\ncommonName = supplied\n")
        open(private + ".db", "w").close()
        run("ca", "-batch", "-selfsign", "-config", private + ".cnf", "-keyfile", private + ".new", "-in", private + ".csr",
            "-notext", "-startdate", time.strftime("%Y%m%d%H%M%SZ", start), "-enddate", time.strftime("%Y%m%d%H%M%SZ", end),
            "-out", certificate + ".new")
    os.chmod(private + ".new", 0o600)
    os.rename(private + ".new", private)
    os.rename(certificate + ".new", certificate)
    return certificate, private
