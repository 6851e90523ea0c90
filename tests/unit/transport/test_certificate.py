"""The certificate that gateways show: which files are good, and what becomes of new ones."""

import os
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from turnout.transport.certificate import BadCertificate, Certificate, Loaded

AUTHORITY = trustme.CA()
ONE, OTHER = AUTHORITY.issue_cert("turnout.example"), AUTHORITY.issue_cert("turnout.example")


def write(folder: Path, cert: bytes, key: bytes) -> tuple[Path, Path]:
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(key)
    return folder / "cert.pem", folder / "key.pem"


def pems(issued: trustme.LeafCert) -> tuple[bytes, bytes]:
    return b"".join(pem.bytes() for pem in issued.cert_chain_pems), issued.private_key_pem.bytes()


def test_a_certificate_and_its_key_are_loaded(tmp_path: Path) -> None:
    loaded = Loaded(*write(tmp_path, *pems(ONE)))
    assert (loaded.chain, loaded.key) == pems(ONE)
    assert loaded.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_missing_file_is_named_with_its_option(tmp_path: Path) -> None:
    cert, key = write(tmp_path, *pems(ONE))
    with pytest.raises(BadCertificate, match=r"--tls-cert .*none\.pem cannot be read: No such file"):
        Loaded(tmp_path / "none.pem", key)
    with pytest.raises(BadCertificate, match=r"--tls-key .*none\.pem cannot be read: No such file"):
        Loaded(cert, tmp_path / "none.pem")


def test_a_folder_is_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="Is a directory"):
        Loaded(tmp_path, tmp_path)


def test_files_that_were_mixed_up_are_told_from_each_other(tmp_path: Path) -> None:
    cert, key = write(tmp_path, *pems(ONE))
    with pytest.raises(BadCertificate, match="holds no certificate in PEM form"):
        Loaded(key, cert)
    with pytest.raises(BadCertificate, match="holds no private key in PEM form"):
        Loaded(cert, cert)


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match=r"key\.pem is not the key of --tls-cert .*cert\.pem"):
        Loaded(*write(tmp_path, pems(ONE)[0], pems(OTHER)[1]))


def test_a_key_with_a_password_is_told_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(pems(ONE)[1], None)
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        locked = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))
        with pytest.raises(BadCertificate, match="is encrypted"):
            Loaded(*write(tmp_path, pems(ONE)[0], locked))


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="cannot be read"):
        Loaded(*write(tmp_path, pems(ONE)[0].replace(b"M", b"!", 9), pems(ONE)[1]))


def test_files_that_did_not_change_are_not_read_again(tmp_path: Path) -> None:
    certificate = Certificate(*write(tmp_path, *pems(ONE)))
    before = certificate.loaded
    assert certificate.look() == ""
    assert certificate.loaded is before


def test_files_that_were_only_touched_are_no_news(tmp_path: Path) -> None:
    certificate = Certificate(*write(tmp_path, *pems(ONE)))
    os.utime(tmp_path / "cert.pem", (1, 1))
    assert certificate.look() == ""


def test_new_files_are_read_once(tmp_path: Path) -> None:
    certificate = Certificate(*write(tmp_path, *pems(ONE)))
    write(tmp_path, *pems(OTHER))
    assert certificate.look().endswith("has a new certificate; devices that connect from now on see it")
    assert certificate.loaded.chain == pems(OTHER)[0]
    assert certificate.look() == ""


def test_a_certificate_whose_key_comes_a_little_later_is_complained_of_once_and_then_taken(tmp_path: Path) -> None:
    certificate = Certificate(*write(tmp_path, *pems(ONE)))
    write(tmp_path, pems(OTHER)[0], pems(ONE)[1])
    assert "is not the key of" in certificate.look()
    assert certificate.look() == ""
    assert certificate.loaded.chain == pems(ONE)[0]
    write(tmp_path, *pems(OTHER))
    assert "new certificate" in certificate.look()


def test_files_that_vanish_are_complained_of_once(tmp_path: Path) -> None:
    certificate = Certificate(*write(tmp_path, *pems(ONE)))
    (tmp_path / "key.pem").unlink()
    assert "stays, for the new one is not good: --tls-key" in certificate.look()
    assert certificate.look() == ""
    write(tmp_path, *pems(ONE))
    assert certificate.look() == ""
