"""Makes certificates for the webhook, and says when one is due for another.

Each certificate gets an authority of its own, whose key is forgotten as soon as it has signed: so
nobody can ever sign a second one with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE: Final = timedelta(days=90)
_EARLIER: Final = timedelta(hours=1)
"""Clocks of others may be behind."""


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and the authority that must be trusted to accept it; all PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


def issue(dns: Sequence[str], now: float) -> Issued:
    """Make a certificate for a server of these names; ``now`` is in epoch seconds."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name(f"gkm-webhook-ca-{x509.random_serial_number():x}"[:64])
    authority = (
        _builder(ca_name, ca_key.public_key(), now)
        .issuer_name(ca_name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, SHA256())
    )
    certificate = (
        _builder(_name("gkm-webhook"), key.public_key(), now)
        .issuer_name(ca_name)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, dns)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, SHA256())
    )
    return Issued(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        authority.public_bytes(Encoding.PEM),
    )


def due(held: Issued, dns: Sequence[str], now: float) -> bool:
    """Whether another certificate is needed: two thirds of its life are over, or it is unfit."""
    try:
        certificate = x509.load_pem_x509_certificate(held.certificate)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(held.authority))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        named = set(names.value.get_values_for_type(x509.DNSName))
        own = load_pem_private_key(held.key, None).public_key() == certificate.public_key()
    except Exception:  # noqa: BLE001 - whatever cannot be read is unfit; it has no one kind of error
        return True
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    moment = datetime.fromtimestamp(now, UTC)
    return not own or not named.issuperset(dns) or moment >= begin + (end - begin) * 2 / 3


def newest(bundle: bytes) -> bytes:
    """Return the first authority of a bundle (PEM), where the newest stands; nothing if none."""
    try:
        found = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return b""
    return found[0].public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, now: float
) -> x509.CertificateBuilder:
    moment = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _EARLIER)
        .not_valid_after(moment + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
