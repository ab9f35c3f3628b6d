"""The environment, read at once and refused at once."""

import base64

import pytest

from comms import settings
from comms.database import role_password, urls_of
from comms.settings import Misconfigured, Secret
from models.tenancy import WEB

KEY = base64.b64encode(b"k" * 32).decode()
ENOUGH = {"DATABASE_URL": "postgresql://owner:secret@db/comms", "COMMS_SECRET_KEY": f"k1:{KEY}"}


def test_an_empty_environment_runs_on_the_embedded_database() -> None:
    read = settings.read({})
    assert read.database.url is None
    assert read.server.public_url == "http://127.0.0.1:8000"
    assert read.media.url.startswith("file:///")


def test_every_wrong_variable_is_named_at_once() -> None:
    wrong = {
        "DATABASE_URL": "mysql://x/y",
        "COMMS_PORT": "none",
        "PUBLIC_URL": "ftp://x",
        "COMMS_SECRET_KEY": "k1:short",
        "COMMS_LOG_LEVEL": "loud",
        "COMMS_TYPO": "1",
    }
    with pytest.raises(Misconfigured) as refused:
        settings.read(wrong)
    assert len(refused.value.problems) == len(wrong)
    for name in wrong:
        assert name in str(refused.value)


def test_a_database_of_ones_own_needs_a_key_of_ones_own() -> None:
    with pytest.raises(Misconfigured, match="COMMS_SECRET_KEY is missing"):
        settings.read({"DATABASE_URL": ENOUGH["DATABASE_URL"]})


def test_keys_can_be_rotated() -> None:
    other = base64.b64encode(b"o" * 32).decode()
    read = settings.read(ENOUGH | {"COMMS_SECRET_KEY": f"k2:{other},k1:{KEY}"})
    assert [name for name, _ in read.security.keys] == ["k2", "k1"]


def test_no_secret_prints_itself() -> None:
    read = settings.read(ENOUGH)
    for text in (repr(read), str(read), f"{read.database.url}", f"{read.security}"):
        assert "secret@" not in text
        assert KEY not in text
        assert "kkkk" not in text
    assert Secret("a") == Secret("a")
    assert read.database.url is not None
    assert read.database.url.plain == ENOUGH["DATABASE_URL"]


def test_letters_leave_by_a_mail_server_and_from_our_host_unless_another_sender_is_named() -> None:
    environment = {"COMMS_SMTP_URL": "smtps://user:secret@mail.example.com", "PUBLIC_URL": "https://hooks.example.com"}
    read = settings.read(environment)
    assert read.smtp is not None
    assert read.smtp.sender == "comms@hooks.example.com"
    assert "secret" not in repr(read)
    named = settings.read(environment | {"COMMS_MAIL_FROM": "team@example.com"}).smtp
    assert named is not None
    assert named.sender == "team@example.com"
    assert settings.read({}).smtp is None


def test_clerk_is_believed_when_its_issuer_is_named() -> None:
    read = settings.read({"COMMS_CLERK_ISSUER": "https://clerk.example.com", "COMMS_CLERK_AUDIENCE": "a, B"})
    assert read.clerk == settings.ClerkSettings(
        "https://clerk.example.com", "https://clerk.example.com/.well-known/jwks.json", ("a", "B")
    )
    with pytest.raises(Misconfigured, match="COMMS_CLERK_ISSUER is missing"):
        settings.read({"COMMS_CLERK_AUDIENCE": "a"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMMS_SMTP_URL", "mail.example.com:25"),
        ("COMMS_SMTP_URL", "smtp://mail.example.com:port"),
        ("COMMS_MAIL_FROM", "nobody"),
        ("COMMS_CLERK_ISSUER", "clerk.example.com"),
        ("COMMS_SENDGRID_URL", "ftp://x"),
    ],
)
def test_a_wrong_address_is_named(name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        settings.read({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "https://x:99999"),
        ("PUBLIC_URL", "https://x:abc"),
        ("PUBLIC_URL", "https://x:0"),
        ("PUBLIC_URL", "https://user:pw@x"),
        ("PUBLIC_URL", "https://x/ y"),
        ("PUBLIC_URL", "https://x\ty"),
        ("COMMS_MEDIA_URL", "s3://"),
        ("COMMS_MEDIA_URL", "s3:bucket"),
        ("COMMS_MEDIA_URL", "file://"),
        ("DATABASE_URLL", "postgresql://owner@db/comms"),
        ("COMMS_DATA_DIR", "~nobody-of-that-name/comms"),
    ],
)
def test_what_is_half_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=name) as refused:
        settings.read({name: value})
    assert len(refused.value.problems) == 1


def test_an_sslmode_that_there_is_not_is_named() -> None:
    with pytest.raises(Misconfigured, match="DATABASE_URL names an sslmode"):
        settings.read(ENOUGH | {"DATABASE_URL": "postgresql://owner@db/comms?sslmode=wombat"})
    assert settings.read(ENOUGH | {"DATABASE_URL": "postgresql://owner@db/comms?sslmode=require"}).database.url


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            "postgresql://db/comms?user=owner&password=s%40crets&sslmode=require",
            "owner:s%40crets@db/comms?sslmode=require",
        ),
        ("postgresql://owner@db/comms?password=secret", "owner:secret@db/comms"),
        ("postgresql:///comms?host=/run/pg&user=owner&password=secret", "owner:secret@/comms?host=%2Frun%2Fpg"),
    ],
)
def test_credentials_in_the_query_are_the_owners_and_the_roles_have_their_own(written: str, read: str) -> None:
    urls = urls_of(settings.read(ENOUGH | {"DATABASE_URL": written}).database)
    assert urls.owner.plain == f"postgresql://{read}"
    assert "secret" not in urls.web.plain
    assert f"{WEB}:{role_password(urls.owner, WEB)}@" in urls.web.plain


@pytest.mark.parametrize("name", ["DATABASE_WEB_URL", "DATABASE_WORKER_URL"])
def test_an_address_of_a_role_needs_the_owners(name: str) -> None:
    with pytest.raises(Misconfigured, match=f"DATABASE_URL is missing, which {name} need"):
        settings.read({name: "postgresql://role@db/comms"})
    assert settings.read(ENOUGH | {name: "postgresql://role@db/comms"}).database.url is not None


def test_a_wrong_address_of_a_database_does_not_hide_that_the_key_is_missing() -> None:
    with pytest.raises(Misconfigured) as refused:
        settings.read({"DATABASE_URL": "mysql://x/y"})
    assert [problem.split()[0] for problem in refused.value.problems] == ["DATABASE_URL", "COMMS_SECRET_KEY"]


@pytest.mark.parametrize("value", ["https://x", "https://x:8443/comms", "http://[::1]:8000"])
def test_an_address_that_is_right_is_taken(value: str) -> None:
    assert settings.read({"PUBLIC_URL": value}).server.public_url == value


@pytest.mark.parametrize("host", ["...", "db..internal", "." + "a" * 64, "a" * 64 + ".internal"])
def test_a_host_that_there_cannot_be_is_named(host: str) -> None:
    """As a template's ``postgresql://owner:password@.../comms`` has it."""
    for name, value in (
        ("DATABASE_URL", f"postgresql://owner:secret@{host}/comms"),
        ("PUBLIC_URL", f"https://{host}"),
        ("COMMS_SMTP_URL", f"smtp://user:secret@{host}:587"),
    ):
        with pytest.raises(Misconfigured, match=f"{name} names a host") as refused:
            settings.read(ENOUGH | {name: value})
        assert len(refused.value.problems) == 1


@pytest.mark.parametrize("place", ["owner:[zzz]@db", "owner:zzz／@db", "owner:[zzz@db"])
def test_a_password_that_is_not_escaped_is_not_printed(place: str) -> None:
    with pytest.raises(Misconfigured, match="DATABASE_URL cannot be read") as refused:
        settings.read(ENOUGH | {"DATABASE_URL": f"postgresql://{place}/comms"})
    assert "zzz" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://owner@%2Fa" + "%2Fa" * 20 + "/comms", "postgresql://owner@db./comms"])
def test_a_host_may_be_a_folder_or_end_with_a_dot(url: str) -> None:
    assert settings.read(ENOUGH | {"DATABASE_URL": url}).database.url == Secret(url)
