"""A private certificate authority and a server's certificate from it, made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


@dataclass(frozen=True)
class Certificate:
    """A server's certificate and key, and the authority that a client must trust to accept them."""

    ca_pem: str
    certificate: Path
    key: Path


def issue(folder: Path, address: str, days: int = 30) -> Certificate:
    """Make an authority and a certificate for an IP ``address``; the files lie in ``folder``.

    With ``days`` below 0 the certificate has expired.
    """
    (folder / "extensions").write_text(
        f"subjectAltName=IP:{address}\nbasicConstraints=critical,CA:FALSE\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    usage = "-addext keyUsage=critical,keyCertSign,cRLSign"
    signer = "-CA ca.pem -CAkey ca.key -CAcreateserial"
    for command in (
        f"req -x509 {_NEW_KEY} {usage} -subj /CN=private -days 30 -keyout ca.key -out ca.pem",
        f"req {_NEW_KEY} -subj /CN=registry -keyout tls.key -out request",
        f"x509 -req -in request {signer} -days {days} -extfile extensions -out tls.crt",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return Certificate((folder / "ca.pem").read_text(), folder / "tls.crt", folder / "tls.key")
