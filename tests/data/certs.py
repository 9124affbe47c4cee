# SPDX-License-Identifier: MIT
"""Makes certificate authorities and server certificates, good and bad, for the tests.

Everything is made on the spot in a directory that the caller gives; no key is ever checked in.

    ca = Authority(directory, "Test CA")
    good = ca.leaf("dns.test")
    old = ca.leaf("dns.test", days=(-30, -1))

A Leaf has .cert (a PEM file: the certificate and what lies between it and the root) and .key.
"""

import base64
import datetime
import hashlib
import itertools
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION

UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")

_count = itertools.count(1)


def key_usage(*names):
    """A keyUsage extension of these bits: key_usage("digital_signature")."""
    bits = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{bit: bit in names for bit in bits})


def make_key(kind="p256"):
    """A private key: p256, p384, ed25519, or rsa and its bits (rsa2048)."""
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def _general_name(name):
    """Text is a DNS name; an ipaddress object is an address."""
    return x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name)


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def _der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def _builder(subject, issuer, public_key, days):
    now = datetime.datetime.utcnow()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
    )


def pin_of(certificate):
    """Its key as a pin (RFC 7469 section 2.4)."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


class Leaf:
    """A server's certificate with its chain, and its key, as PEM files; and its pin."""

    def __init__(self, directory, certificate, key, chain):
        stem = Path(directory) / f"leaf-{next(_count)}"
        self.certificate = certificate
        self.private_key = key
        self.pin = pin_of(certificate)
        self.chain = [_der(c) for c in [certificate, *chain]]
        self.cert = str(stem.with_suffix(".pem"))
        self.key = str(stem.with_suffix(".key"))
        Path(self.cert).write_bytes(b"".join(_pem(c) for c in [certificate, *chain]))
        Path(self.key).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


class Authority:
    """A root, or with issuer an intermediate, that signs others.  .pem is its certificate's file."""

    def __init__(self, directory, name, issuer=None, key="p256", days=(-30, 365), path_length=None,
                 is_ca=True, hash=hashes.SHA256(), usage=(), names=None, more=()):
        """usage: an extendedKeyUsage; names: a DNS subtree it is constrained to (not critical); is_ca=None:
        no basicConstraints at all; more: further (extension, critical)."""
        self.directory = Path(directory)
        self.name = _name(name)
        self.key = make_key(key)
        self.issuer = issuer
        signer = issuer or self
        builder = _builder(self.name, signer.name, self.key.public_key(), days)
        if is_ca is not None:
            basic = x509.BasicConstraints(is_ca, path_length if is_ca else None)
            builder = builder.add_extension(basic, critical=True)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if names:
            constraints = x509.NameConstraints([x509.DNSName(names)], None)
            builder = builder.add_extension(constraints, critical=False)
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        self.certificate = builder.sign(signer.key, hash)
        self.pin = pin_of(self.certificate)
        self.pem = str(self.directory / f"ca-{next(_count)}.pem")
        Path(self.pem).write_bytes(_pem(self.certificate))

    def cross_signed(self, issuer):
        """The same name and key, vouched for by another authority."""
        builder = _builder(self.name, issuer.name, self.key.public_key(), (-30, 365))
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        return builder.sign(issuer.key, hashes.SHA256())

    def chain(self):
        """The certificates a server sends behind its own: all but the root."""
        return [self.certificate, *self.issuer.chain()] if self.issuer else []

    def leaf(self, *names, cn=None, key="p256", days=(-1, 30), usage=(SERVER_AUTH,), hash=hashes.SHA256(),
             unknown_critical=False, with_chain=True, chain=None, more=()):
        """A server certificate with names as its subjectAltName (without names: none at all); text is a
        DNS name, an ipaddress object an address.  chain: the certificates behind it, if others; more:
        further (extension, critical)."""
        private_key = make_key(key)
        builder = _builder(_name(cn), self.name, private_key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        if names:
            san = x509.SubjectAlternativeName([_general_name(n) for n in names])
            builder = builder.add_extension(san, critical=not cn)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if unknown_critical:
            builder = builder.add_extension(UNKNOWN, critical=True)
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self.key, hash)
        behind = self.chain() if chain is None and with_chain else chain or []
        return Leaf(self.directory, certificate, private_key, behind)


def self_signed(directory, *names, days=(-1, 30)):
    """A server certificate that only vouches for itself."""
    key = make_key()
    name = _name("nobody but myself")
    certificate = (
        _builder(name, name, key.public_key(), days)
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Leaf(directory, certificate, key, [])


# -- what no honest authority makes ------------------------------------------------------------------


def der(tag, *parts):
    """A DER element."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def elements(body):
    """The DER elements that body consists of, each with its header."""
    out = []
    while body:
        length, header = body[1], 2
        if length >= 0x80:
            header += length - 0x80
            length = int.from_bytes(body[2:header], "big")
        out.append(body[: header + length])
        body = body[header + length :]
    return out


def content(element):
    """What is in a DER element."""
    return element[2 if element[1] < 0x80 else 2 + element[1] - 0x80 :]


def _algorithm(key, hash):
    """The AlgorithmIdentifier of a signature."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        number = {"sha1": b"\x01", "sha256": b"\x03\x02", "sha384": b"\x03\x03"}[hash.name]
        return der(0x30, der(0x06, bytes.fromhex("2a8648ce3d04"), number))
    number = {"md5": b"\x04", "sha1": b"\x05", "sha256": b"\x0b", "sha384": b"\x0c"}[hash.name]
    return der(0x30, der(0x06, bytes.fromhex("2a864886f70d0101"), number), der(0x05))


def forge(certificate, key, change=bytes, hash=hashes.SHA256(), signature=None):
    """The certificate as DER after change(octets of its TBSCertificate's content), signed again with its
    authority's key: nothing but the change is wrong with it.  signature: what stands there instead."""
    algorithm = _algorithm(key, hash)
    version, serial, _, *rest = elements(content(certificate.tbs_certificate_bytes))
    tbs = der(0x30, change(b"".join([version, serial, algorithm, *rest])))
    if signature is None and isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(tbs, ec.ECDSA(hash))
    elif signature is None:
        signature = key.sign(tbs, padding.PKCS1v15(), hash)
    return der(0x30, tbs, algorithm, der(0x03, b"\0", signature))
