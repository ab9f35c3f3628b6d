"""What the environment says, read once, by a pure function that names everything wrong with it at once."""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

T = TypeVar("T")

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PLAIN = re.compile(r"[!-~]+")


class Misconfigured(Exception):
    """The configuration is wrong or incomplete."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Secret:
    """Text that does not print itself; ``plain`` is for the one place that needs it."""

    __slots__ = ("plain",)

    def __init__(self, plain: str) -> None:
        self.plain = plain

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.plain.encode(), other.plain.encode())

    def __hash__(self) -> int:
        return hash(self.plain)


class DatabaseSettings(msgspec.Struct, frozen=True):
    """Where the rows are. ``url`` None means the embedded PostgreSQL under ``data_dir``."""

    url: Secret | None = None
    web_url: Secret | None = None
    worker_url: Secret | None = None
    pool_size: int = 10
    pgbouncer: bool = False


class ServerSettings(msgspec.Struct, frozen=True):
    """Where we listen, and the address the world (and so a provider's signature) knows us by."""

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = "http://127.0.0.1:8000"
    drain_seconds: int = 20


class SecuritySettings(msgspec.Struct, frozen=True):
    """The keys provider secrets are encrypted under: the first encrypts, all decrypt, so that they can be rotated."""

    keys: tuple[tuple[str, bytes], ...] = ()

    def __repr__(self) -> str:
        return f"SecuritySettings(keys={[name for name, _ in self.keys]})"


class MediaSettings(msgspec.Struct, frozen=True):
    """Where attachments are kept and which further hosts they may come from."""

    url: str = ""
    max_bytes: int = 25 * 1024 * 1024
    twilio_url: str = "https://api.twilio.com"
    extra_hosts: tuple[str, ...] = ()


class ProviderSettings(msgspec.Struct, frozen=True):
    """Where the providers' APIs are, so that others can stand in for them; SignalWire's is each customer's space.

    ``smtp_hosts`` are the mail servers, as ``host:port``, that workspaces may use although they are in our own network.
    """

    twilio_url: str = "https://api.twilio.com"
    signalwire_url: str | None = None
    sendgrid_url: str = "https://api.sendgrid.com"
    smtp_hosts: tuple[str, ...] = ()


class SmtpSettings(msgspec.Struct, frozen=True):
    """Through whom we send letters of our own, such as invitations, and from which address."""

    url: Secret
    sender: str


class PushSettings(msgspec.Struct, frozen=True):
    """Whom push services may complain to, and those, as ``host:port``, that may lie in our own network."""

    contact: str = "mailto:comms@localhost"
    hosts: tuple[str, ...] = ()


class WebhookSettings(msgspec.Struct, frozen=True):
    """Where outbound webhooks may go although it is not public: as ``host:port``, and whole networks."""

    hosts: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


class ClerkSettings(msgspec.Struct, frozen=True):
    """Whose session tokens are believed: the issuer, its keys, and for whom and where they must have been made."""

    issuer: str
    jwks_url: str
    audience: tuple[str, ...] = ()
    authorized_parties: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True):
    """Everything the environment decides."""

    data_dir: Path
    database: DatabaseSettings
    server: ServerSettings
    security: SecuritySettings
    media: MediaSettings
    providers: ProviderSettings = ProviderSettings()
    smtp: SmtpSettings | None = None
    clerk: ClerkSettings | None = None
    push: PushSettings = PushSettings()
    webhooks: WebhookSettings = WebhookSettings()
    keep_runs_days: int = 90
    log_level: str = "info"
    embedded_worker: bool = True
    postgres_user: str | None = None


VARIABLES: Mapping[str, str] = {
    "DATABASE_URL": "postgresql://owner:password@host/database; without it comms runs its own PostgreSQL",
    "DATABASE_WEB_URL": "the same database as the role comms_web (default: DATABASE_URL with that role)",
    "DATABASE_WORKER_URL": "the same database as the role comms_worker (default: likewise)",
    "DATABASE_POOL_SIZE": "connections per process for the API (default 10)",
    "DATABASE_PGBOUNCER": "true when a PgBouncer in transaction mode stands in between",
    "COMMS_DATA_DIR": "folder of the embedded database, media and demo.json (default .comms)",
    "COMMS_HOST": "address to listen on (default 127.0.0.1)",
    "COMMS_PORT": "port to listen on (default 8000)",
    "PUBLIC_URL": "the https:// address providers post to; their signatures cover it",
    "COMMS_DRAIN_SECONDS": "how long a stopping process finishes what it has begun (default 20)",
    "COMMS_SECRET_KEY": "id:base64 of 32 bytes, several separated by commas, the first one encrypts",
    "COMMS_MEDIA_URL": "where attachments are kept: file:///…, s3://…, gs://…, az://… (default: the data folder)",
    "COMMS_MEDIA_MAX_BYTES": "largest attachment fetched (default 26214400)",
    "COMMS_MEDIA_HOSTS": "further host:port names media may be fetched from, separated by commas",
    "COMMS_TWILIO_URL": "Twilio's API (default https://api.twilio.com)",
    "COMMS_SIGNALWIRE_URL": "what to ask instead of each connection's SignalWire space",
    "COMMS_SENDGRID_URL": "SendGrid's API (default https://api.sendgrid.com)",
    "COMMS_SMTP_HOSTS": "mail servers in your own network that workspaces may send by, host:port separated by commas",
    "COMMS_SMTP_URL": "smtp://user:password@host:587 or smtps://… to mail invitations and digests; without it none is",
    "COMMS_MAIL_FROM": "the sender of those mails (default comms@ and the host of PUBLIC_URL)",
    "COMMS_PUSH_HOSTS": "push services in your own network that devices may subscribe at, host:port, comma-separated",
    "COMMS_WEBHOOK_HOSTS": "what webhooks and workflows may reach in your own network: host:port, or 10.1.0.0/16",
    "COMMS_KEEP_RUNS_DAYS": "how long runs of workflows are kept once they are over (default 90)",
    "COMMS_CLERK_ISSUER": "https://… of the Clerk instance whose session tokens are accepted",
    "COMMS_CLERK_JWKS_URL": "where its keys are (default: the issuer's /.well-known/jwks.json)",
    "COMMS_CLERK_AUDIENCE": "values of which a token's aud must be one, separated by commas",
    "COMMS_CLERK_AUTHORIZED_PARTIES": "origins of which a token's azp must be one, separated by commas",
    "COMMS_LOG_LEVEL": "debug, info, warning or error (default info)",
    "COMMS_POSTGRES_USER": "who runs the embedded PostgreSQL when we are root (default postgres, else nobody)",
    "COMMS_WORKER": "embedded (default) or separate: whether `comms serve` also works off jobs",
}


def read(environ: Mapping[str, str]) -> Settings:
    """The settings of this environment; raises ``Misconfigured`` naming every wrong variable at once."""
    problems: list[str] = []

    def take(name: str, parse: Callable[[str], T], default: T) -> T:
        text = environ.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            problems.append(f"{name} {error} ({VARIABLES[name]})")
            return default

    def take_clerk() -> ClerkSettings | None:
        issuer = take("COMMS_CLERK_ISSUER", _public_url, None)
        jwks_url = take("COMMS_CLERK_JWKS_URL", _public_url, f"{issuer}/.well-known/jwks.json")
        nobody: tuple[str, ...] = ()
        audience = take("COMMS_CLERK_AUDIENCE", _listed, nobody)
        parties = take("COMMS_CLERK_AUTHORIZED_PARTIES", _listed, nobody)
        if issuer is not None:
            return ClerkSettings(issuer, jwks_url, audience, parties)
        if any(name.startswith("COMMS_CLERK_") and value.strip() for name, value in environ.items()):
            problems.append(f"COMMS_CLERK_ISSUER is missing ({VARIABLES['COMMS_CLERK_ISSUER']})")
        return None

    data_dir = take("COMMS_DATA_DIR", _folder, Path(".comms").absolute())
    host = take("COMMS_HOST", str, "127.0.0.1")
    port = take("COMMS_PORT", _between(1, 65535), 8000)
    public_url = take("PUBLIC_URL", _public_url, f"http://127.0.0.1:{port}")
    twilio_url = take("COMMS_TWILIO_URL", _public_url, "https://api.twilio.com")
    smtp_url = take("COMMS_SMTP_URL", _smtp_url, None)
    sender = take("COMMS_MAIL_FROM", _address, f"comms@{urlsplit(public_url).hostname}")
    settings = Settings(
        data_dir=data_dir,
        database=DatabaseSettings(
            url=take("DATABASE_URL", _database_url, None),
            web_url=take("DATABASE_WEB_URL", _database_url, None),
            worker_url=take("DATABASE_WORKER_URL", _database_url, None),
            pool_size=take("DATABASE_POOL_SIZE", _between(1, 1000), 10),
            pgbouncer=take("DATABASE_PGBOUNCER", _boolean, False),
        ),
        server=ServerSettings(
            host=host,
            port=port,
            public_url=public_url,
            drain_seconds=take("COMMS_DRAIN_SECONDS", _between(0, 3600), 20),
        ),
        security=SecuritySettings(keys=take("COMMS_SECRET_KEY", _keys, ())),
        media=MediaSettings(
            url=take("COMMS_MEDIA_URL", _media_url, (data_dir / "media").as_uri()),
            max_bytes=take("COMMS_MEDIA_MAX_BYTES", _between(1, 10**10), 25 * 1024 * 1024),
            twilio_url=twilio_url,
            extra_hosts=take("COMMS_MEDIA_HOSTS", _names, ()),
        ),
        providers=ProviderSettings(
            twilio_url=twilio_url,
            signalwire_url=take("COMMS_SIGNALWIRE_URL", _public_url, None),
            sendgrid_url=take("COMMS_SENDGRID_URL", _public_url, "https://api.sendgrid.com"),
            smtp_hosts=take("COMMS_SMTP_HOSTS", _names, ()),
        ),
        smtp=None if smtp_url is None else SmtpSettings(smtp_url, sender),
        clerk=take_clerk(),
        push=PushSettings(contact=f"mailto:{sender}", hosts=take("COMMS_PUSH_HOSTS", _names, ())),
        webhooks=take("COMMS_WEBHOOK_HOSTS", _webhooks, WebhookSettings()),
        keep_runs_days=take("COMMS_KEEP_RUNS_DAYS", _between(1, 36_500), 90),
        log_level=take("COMMS_LOG_LEVEL", _choice("debug", "info", "warning", "error"), "info"),
        postgres_user=take("COMMS_POSTGRES_USER", str, None),
        embedded_worker=take("COMMS_WORKER", _choice("embedded", "separate"), "embedded") == "embedded",
    )
    for name, value in environ.items():
        is_ours = name.startswith(("COMMS_", "DATABASE_")) and not name.startswith("COMMS_TEST_")
        if is_ours and name not in VARIABLES:
            problems.append(f"{name} is not a setting of comms{' (it is empty)' if not value else ''}")
    # By what is said, not by what could be read of it: a wrong address hides no other mistake.
    said = {name for name, value in environ.items() if value.strip()}
    if "DATABASE_URL" in said and "COMMS_SECRET_KEY" not in said:
        problems.append(f"COMMS_SECRET_KEY is missing ({VARIABLES['COMMS_SECRET_KEY']})")
    if "DATABASE_URL" not in said and (roles := sorted({"DATABASE_WEB_URL", "DATABASE_WORKER_URL"} & said)):
        problems.append(f"DATABASE_URL is missing, which {' and '.join(roles)} need ({VARIABLES['DATABASE_URL']})")
    if problems:
        raise Misconfigured(problems)
    return settings


def _between(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text.lower()

    return parse


def _boolean(text: str) -> bool:
    return _choice("true", "false")(text) == "true"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


def _webhooks(text: str) -> WebhookSettings:
    try:
        networks = tuple(ip_network(name) for name in _names(text) if "/" in name)
    except ValueError as error:
        raise ValueError(f"names a network that is none: {error}") from None
    return WebhookSettings(tuple(name for name in _names(text) if "/" not in name), networks)


def _listed(text: str) -> tuple[str, ...]:
    """The values as they are written: an audience may differ by case."""
    return tuple(value.strip() for value in text.split(",") if value.strip())


def _smtp_url(text: str) -> Secret:
    parts = _split(text)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("must begin with smtp:// (or smtps://) and a host")
    _check_place(parts)
    return Secret(text)


def _address(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain or any(character.isspace() for character in text):
        raise ValueError("must be an e-mail address")
    return text


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("names the home of somebody who has none here") from error


def _database_url(text: str) -> Secret:
    parts = _split(text)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("must begin with postgresql://")
    _check_place(parts)
    if not parts.path.strip("/"):
        raise ValueError("must name a database after the host")
    for mode in parse_qs(parts.query).get("sslmode", []):
        if mode not in _SSL_MODES:
            raise ValueError(f"names an sslmode that is none of {', '.join(_SSL_MODES)}")
    return Secret(text)


def _public_url(text: str) -> str:
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with https:// (or http://) and a host")
    if not _PLAIN.fullmatch(text):
        raise ValueError("must be ASCII without spaces")
    if "@" in parts.netloc:
        raise ValueError("must not name a user or a password")
    _check_place(parts)
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or fragment")
    return text.rstrip("/")


def _media_url(text: str) -> str:
    parts = _split(text)
    if parts.scheme not in ("file", "s3", "gs", "az") or not text.startswith(f"{parts.scheme}://"):
        raise ValueError("must begin with file://, s3://, gs:// or az://")
    if parts.scheme == "file" and not parts.path.strip("/"):
        raise ValueError("must name a folder after file://")
    if parts.scheme != "file" and not parts.netloc:
        raise ValueError(f"must name a bucket after {parts.scheme}://")
    return text


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:  # its words would quote the password
        raise ValueError("cannot be read: in a password [ is written %5B, and so on") from None


def _check_place(parts: SplitResult) -> None:
    """``ValueError`` when the address names a host or a port that there cannot be."""
    host = unquote(parts.hostname or "")
    try:
        host.encode("ascii" if host.startswith("/") else "idna")
    except UnicodeError:  # nobody could even ask for it
        raise ValueError("names a host that there cannot be") from None
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("names a port that is no number from 1 to 65535")


def _keys(text: str) -> tuple[tuple[str, bytes], ...]:
    keys: list[tuple[str, bytes]] = []
    for part in text.split(","):
        name, colon, encoded = part.strip().partition(":")
        if not colon or not name.isalnum():
            raise ValueError("must be written id:base64, such as k1:…")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise ValueError("must be base64 after the colon") from None
        if len(key) != 32:
            raise ValueError(f"must hold 32 bytes, the key {name} holds {len(key)}")
        keys.append((name, key))
    if len({name for name, _ in keys}) != len(keys):
        raise ValueError("names one key id twice")
    return tuple(keys)
