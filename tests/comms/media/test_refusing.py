"""Where attachments are not fetched from, and who sees our credentials."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from comms import authorities
from comms.media.sources import Sources
from comms.outside import Outside, Refused, is_public
from comms.settings import MediaSettings
from models.base import now
from tests.comms.media.worlds import World, events_of, served

# Refusing


async def test_a_foreign_host_is_refused_and_the_message_kept(world: World, admin: Any) -> None:
    row = await world.fetched("https://evil.example/x.png")
    assert (row.state, row.attempts, row.next_attempt_at) == ("refused", 1, None)
    assert row.error == "evil.example is not a host that media of twilio come from"
    assert [event["event"] for event in await events_of(admin, row.id)] == ["attachment.refused"]
    assert await admin.fetchval("SELECT status FROM conversation_messages WHERE id = $1", row.message_id) == "received"


async def test_a_redirect_to_a_host_not_listed_is_refused(world: World) -> None:
    row = await world.fetched(world.item("ME1"), world.media(extra_hosts=()))
    assert (row.state, row.error) == ("refused", "localhost is not asked by https://")
    assert [seen.status for seen in world.server.seen] == [307]


async def test_a_redirect_to_a_private_address_is_refused(world: World) -> None:
    for target in ("https://169.254.169.254/latest", "https://[::1]/x", f"https://127.0.0.1:{world.port}"):
        world.server.cdn_base = target
        row = await world.fetched(world.item("ME1"))
        assert row.state == "refused", target
    assert {seen.status for seen in world.server.seen} == {307}


@pytest.mark.parametrize("provider", ["twilio", "signalwire"])
async def test_a_provider_names_no_file_that_is_kept_here(world: World, provider: str) -> None:
    kept = await world.fetched(world.item("ME1"))
    assert kept.state == "stored"
    row = await world.fetched(f"stored:{kept.storage_key}#0+{kept.size}", provider=provider)
    assert (row.state, row.error) == ("refused", "the address is not asked by https://")


async def test_a_redirect_in_a_circle_ends(world: World) -> None:
    asked = 0

    async def circle(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await send({"type": "http.response.start", "status": 302, "headers": [(b"location", b"/x")]})
        await send({"type": "http.response.body"})

    async with served(circle) as port:
        row = await world.fetched(f"http://127.0.0.1:{port}/x", world.media(extra_hosts=(f"127.0.0.1:{port}",)))
    assert (row.state, row.error, asked) == ("failed", "it is redirected more than 5 times", 6)


async def test_a_name_that_means_a_private_address_is_refused_unless_listed() -> None:
    url = httpx.URL("https://localhost/x")
    assert set(await Outside().addresses_of(url, may_be_private=True)) <= {"127.0.0.1", "::1"}
    with pytest.raises(Refused, match="localhost lies in a private network"):
        await Outside().addresses_of(url, may_be_private=False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::808:808", False),
        ("2002:808:808::1", True),
        ("2001:0:808:808::", False),
        ("fec0::1", False),
        ("fe80::1%eth0", False),
        ("ff0e::1", False),
        ("::ffff:8.8.8.8", True),
        ("::ffff:0:7f00:1", False),
        ("::7f00:1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("192.0.0.192", False),
        ("198.18.0.1", False),
        ("168.63.129.16", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("provider", "url", "redirected", "allowed"),
    [
        ("twilio", "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", False, True),
        ("twilio", "https://mms.twiliocdn.com/AC1/x?Signature=1", True, True),
        ("twilio", "https://media.twiliocdn.com/AC1/x", False, True),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com/AC1/x", True, True),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com/AC1/x", False, False),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com.evil/x", True, False),
        ("twilio", "https://s3-external-1.amazonaws.com/evil/x", True, False),
        ("twilio", "https://s3-external-1.amazonaws.com/media.twiliocdn.com/../evil/x", True, False),
        ("twilio", "https://evil.s3.amazonaws.com/x", True, False),
        ("twilio", "https://eviltwiliocdn.com/x", False, False),
        ("twilio", "https://twiliocdn.com.evil.example/x", False, False),
        ("twilio", "https://api.twilio.com.evil.example/x", False, False),
        ("twilio", "https://api.twilio.com@evil.example/x", False, False),
        ("twilio", "https://user:password@api.twilio.com/x", False, False),
        ("twilio", "https://api.twilio.com:8443/x", False, False),
        ("twilio", "http://api.twilio.com/x", False, False),
        ("twilio", "http://mms.twiliocdn.com/x", True, False),
        ("twilio", "file:///etc/passwd", False, False),
        ("twilio", "ftp://mms.twiliocdn.com/x", False, False),
        ("twilio", "//mms.twiliocdn.com/x", False, False),
        ("twilio", "", False, False),
        ("twilio", "https://files.signalwire.com/x", False, False),
        ("signalwire", "https://files.signalwire.com/x", False, True),
        ("signalwire", "https://acme.signalwire.com/x", False, True),
        ("signalwire", "https://signalwire.com.evil.example/x", False, False),
        ("signalwire", "https://api.twilio.com/x", False, False),
        ("sendgrid", "https://api.twilio.com/x", False, False),
        ("twilio", "http://localhost:9000/x", False, True),
        ("twilio", "https://localhost:9000/x", False, True),
        ("twilio", "http://localhost:9001/x", False, False),
        ("twilio", "https://cdn.example.com/x", False, True),
        ("twilio", "http://cdn.example.com/x", False, False),
    ],
)
def test_where_media_may_come_from(provider: str, url: str, redirected: bool, allowed: bool) -> None:
    sources = Sources(MediaSettings(extra_hosts=("localhost:9000", "cdn.example.com")))
    try:
        sources.check(provider, httpx.URL(url), redirected=redirected)
    except Refused:
        assert not allowed
    else:
        assert allowed


# Certificates: the connection goes to an address that was checked, the certificate must be the name's.


def _certificate(name: str, folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def trusts_anew() -> Iterator[None]:
    """Whom we trust is read again, as by a process that has just begun; and again by who comes after."""
    authorities.trusted.cache_clear()
    yield
    authorities.trusted.cache_clear()


@pytest.mark.usefixtures("trusts_anew")
@pytest.mark.parametrize(("name", "state"), [("localhost", "stored"), ("elsewhere.example", "pending")])
async def test_a_certificate_must_be_for_the_name_that_was_asked_for(
    name: str, state: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(name, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async with served(hello, ssl_certfile=str(certificate), ssl_keyfile=str(certificate)) as port:
        media = world.media(extra_hosts=(f"localhost:{port}",))
        row = await world.fetched(f"https://localhost:{port}/x", media)
    assert row.state == state, row.error
