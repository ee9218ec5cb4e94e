"""Cameras over TLS, with and without verification of their certificates."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.capture.engine import CaptureSource
from gateway.capture.engines.opencv import OpenCVCaptureEngine
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.errors import CameraRefusedError, SettingsError
from gateway.settings import load_settings
from tests.support.resolver import Resolver
from tests.support.rtsp import RtspServer

pytestmark = pytest.mark.integration


class Authority:
    """Who vouches for cameras."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        certificate = self._sign(self._name, self._key.public_key(), x509.BasicConstraints(True, None))
        self.path = folder / "authority.pem"
        self.path.write_bytes(certificate)

    def certify(self, *names: str) -> Path:
        """A camera's certificate for these names and addresses, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
        named = x509.SubjectAlternativeName([_general_name(name) for name in names])
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self._folder / "camera.pem"
        path.write_bytes(self._sign(subject, key.public_key(), named) + secret)
        return path

    def _sign(self, subject: x509.Name, key: Any, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return builder.add_extension(extension, False).sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def camera(authority: Authority) -> Iterator[RtspServer]:
    """A camera that is certified as ``camera.test``."""
    with RtspServer(authority.certify("camera.test", "127.0.0.1")) as server:
        yield server


def pull(server: RtspServer, host: str, engine: Any = PyAVCaptureEngine, **settings: Any) -> int:
    url = f"rtsps://viewer:p%40ss%3Aword@{host}:{server.tls_port}/video"
    return len(list(islice(engine(CaptureSource("camera", url, **settings)).packets(), 3)))


def test_a_certificate_of_a_trusted_issuer(
    camera: RtspServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pull(camera, "127.0.0.1", tls_verify=True, tls_ca_file=authority.path) == 3
    with pytest.raises(CameraRefusedError, match="CAPTURE_TLS_CA_FILE"):
        pull(camera, "127.0.0.1", tls_verify=True)
    # The system's own list, wherever it is.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    assert pull(camera, "127.0.0.1", tls_verify=True) == 3


def test_opencv_verifies_certificates_too(camera: RtspServer, authority: Authority) -> None:
    assert pull(camera, "127.0.0.1", OpenCVCaptureEngine, tls_verify=True, tls_ca_file=authority.path) == 3
    with pytest.raises(CameraRefusedError, match="CAPTURE_TLS_CA_FILE"):
        pull(camera, "127.0.0.1", OpenCVCaptureEngine, tls_verify=True)


def test_a_certificate_for_another_name(camera: RtspServer, authority: Authority) -> None:
    with pytest.raises(CameraRefusedError, match="that it is localhost"):
        pull(camera, "localhost", tls_verify=True, tls_ca_file=authority.path)
    assert pull(camera, "localhost") == 3, "verification is off"


def test_the_certificate_is_for_the_name_and_not_the_address(
    camera: RtspServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)
    resolver.addresses = {"camera.test": ["127.0.0.1"], "another.test": ["127.0.0.1"]}
    values: dict[str, Any] = {"tls_verify": True, "tls_ca_file": authority.path, "check_address": lambda _: None}
    assert pull(camera, "camera.test", **values) == 3
    with pytest.raises(CameraRefusedError, match=r"that it is another\.test"):
        pull(camera, "another.test", **values)


def test_settings_that_would_verify_nothing() -> None:
    table = {"capture_tls_ca_file": "ca.pem"}
    with pytest.raises(SettingsError, match="set both"):
        load_settings().camera("door", {"url": "rtsps://192.0.2.7/", **table})
    load_settings().camera("door", {"url": "rtsp://192.0.2.7/", **table})
