"""Certificates for servers of the tests that speak TLS."""

import subprocess
from pathlib import Path

from tests.servers.server import as_user, need, own_folder

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def certificates(account: str | None = None) -> Path:
    """A new folder with ``ca.pem``, what it signed (``server.pem``, ``server.key``), and ``wrong.pem`` of another one.

    They are of the server at 127.0.0.1, by no other name, and belong to ``account``, the user a server runs as.
    """
    folder = own_folder("certificates", account)
    program = need("openssl")

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, **as_user(account))

    for name in ("ca", "wrong"):
        openssl("req", "-x509", *_KEY, "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj",
                f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    openssl("req", *_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.pem")  # fmt: skip
    return folder
