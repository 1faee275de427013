"""Where webhook messages may go: public addresses, the one that was looked up, over TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq import webhooks
from jobq.webhooks import _post
from jobq.webhooks._addresses import is_allowed, is_public
from tests.endpoints import endpoint

SECRET = webhooks.new_secret()
LOCAL = ("127.0.0.1", "::1")

INSIDE = """
    0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.8.9.1 168.63.129.16 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 224.0.0.1
    240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:100.64.0.1
    64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1
    2002:a00:1:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ff0e::1
"""
PUBLIC = "1.1.1.1 8.8.8.8 ::ffff:8.8.8.8 64:ff9b::808:808 2606:4700::1111 2a00:1450::1"


def hook(url, **options):
    return jobq.Webhook(**{"url": url, "secret": SECRET, "timeout": 5.0, **options})


async def sent(webhook, **options):
    return await _post.post(webhook, **{"id": "msg_1", "body": b"{}", **options})


@pytest.mark.parametrize("address", INSIDE.split())
def test_no_message_goes_to_an_address_inside(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC.split())
def test_a_message_may_go_to_a_public_address(address):
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_of_version_4_is_the_same_in_every_spelling(address):
    for spelled in (f"::ffff:{address}", f"64:ff9b::{address}", f"::{address}"):
        disguised = ip_address(spelled)
        assert is_public(disguised) == is_public(address)
        assert is_allowed(disguised, [ip_network(f"{address}/32")])
    assert not is_allowed(address, [])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0"],
)
async def test_a_host_is_judged_by_the_address_it_leads_to(host):
    for scheme in ("http", "https"):
        with pytest.raises(_post.Refused, match=r"Webhook\(allow=") as caught:
            await sent(hook(f"{scheme}://{host}:9/", allow=("10.0.0.0/8",)))
        assert isinstance(caught.value, jobq.JobqError)


async def test_http_goes_only_to_addresses_that_are_allowed_by_name():
    with pytest.raises(_post.Refused, match="not allowed for http"):
        await sent(hook("http://8.8.8.8/", allow=LOCAL))


async def test_one_address_inside_is_enough_to_distrust_a_host(monkeypatch):
    async def look_up(_):
        return [ip_address("8.8.8.8"), ip_address("10.0.0.1")]

    monkeypatch.setattr(_post, "_look_up", look_up)
    with pytest.raises(_post.Refused, match=r"10\.0\.0\.1"):
        await sent(hook("https://example.com/"))


async def test_a_name_is_looked_up_once_and_its_address_is_called(monkeypatch):
    asked = []
    look_up = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        asked.append(host.decode() if isinstance(host, bytes) else host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with endpoint() as served:
        assert (await sent(hook(served.url, allow=LOCAL))).status == 204
    assert asked.count("localhost") == 1
    for host in asked[1:]:
        assert ip_address(host).is_loopback
    assert served.requests[0][1]["host"] == f"localhost:{served.port}"


async def test_an_address_that_takes_no_connection_is_followed_by_the_next(monkeypatch):
    async def look_up(_):
        return [ip_address("127.0.0.2"), ip_address("127.0.0.1")]  # one listens

    monkeypatch.setattr(_post, "_look_up", look_up)
    with endpoint() as served:
        assert (await sent(hook(served.url, allow=("127.0.0.0/8",)))).status == 204
    assert len(served.requests) == 1


async def test_what_cannot_be_reached_is_said_without_the_url():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/token-7", "https://nowhere.invalid/token-7"):
        with pytest.raises(_post.Unreachable) as caught:
            await sent(hook(url, allow=LOCAL))
        assert "token-7" not in str(caught.value)


async def test_an_answer_that_is_no_http_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(_post.Unreachable):
            await sent(hook(f"http://127.0.0.1:{server.getsockname()[1]}/", allow=LOCAL))
        thread.join()


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with endpoint() as served:
        assert (await sent(hook(served.url, allow=LOCAL))).status == 204


# --- TLS ----------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> Path:
    """A certificate of its own for a host, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(*private, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("name, accepted", [("localhost", True), ("example.com", False)])
async def test_the_certificate_has_to_be_that_of_the_host(tmp_path, monkeypatch, name, accepted):
    path = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    trusted = ssl.create_default_context(cafile=str(path))
    monkeypatch.setattr(_post, "_certificates", lambda: trusted)
    with endpoint(context) as served:
        webhook = hook(served.url, allow=LOCAL)
        if accepted:
            assert (await sent(webhook)).status == 204
        else:
            with pytest.raises(_post.Unreachable):
                await sent(webhook)
    assert len(served.requests) == int(accepted)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "localhost"))
    with endpoint(context) as served, pytest.raises(_post.Unreachable):
        await sent(hook(served.url, allow=LOCAL))
    assert served.requests == []


# --- configuration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "example.com/hooks",
        "/hooks",
        "https:///hooks",
        "https://user:word@example.com/",
        "https://user@example.com/",
        "https://example.com/a b",
        "https://example.com/ä",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1/",
        "http://example.com/",
        "https://example.com/" + "x" * 2000,
        7,
        None,
    ],
)
def test_a_url_that_cannot_be_called_is_an_error_that_does_not_show_it(url):
    with pytest.raises(jobq.ConfigurationError, match=r"Webhook\(url=") as caught:
        hook(url)
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    "options",
    [
        {"secret": "whsec_tooshort"},
        {"secret": []},
        {"secret": None},
        {"allow": "127.0.0.1"},
        {"allow": ["localhost"]},
        {"allow": ["10.0.0.1/8"]},
        {"timeout": 0},
        {"timeout": 61},
        {"timeout": True},
        {"timeout": float("nan")},
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_it(options):
    [name] = options
    with pytest.raises(jobq.ConfigurationError, match=rf"Webhook\({name}="):
        hook("https://example.com/", **options)


def test_no_secret_is_shown():
    shown = repr(hook("https://example.com/token-7"))
    assert "https://example.com/…" in shown
    assert "token-7" not in shown
    assert SECRET not in shown


def test_the_port_is_the_schemes_unless_it_is_named():
    assert hook("https://example.com").port == 443
    assert hook("http://127.0.0.1", allow=LOCAL).port == 80
    assert hook("https://example.com:8443/x").port == 8443
    assert ipaddress.ip_network("127.0.0.1/32") in hook("https://a.b", allow=LOCAL).networks
