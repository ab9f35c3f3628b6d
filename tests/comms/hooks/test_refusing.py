"""Where nothing is posted, whoever says so and however; and what of an answer is kept."""

import ipaddress
from typing import Any

import pytest

from comms.hooks import places
from comms.hooks.posting import Pace
from comms.service import Service
from comms.settings import WebhookSettings
from models.base import new_id
from tests.conftest import Client
from tests.make.hooks import NOTHING_WAITS, Sink, endpoint, happens, posting
from tests.make.sending import until

API = "/api/v1"
PRIVATE = "lies in a private network"
NAMED = "must not carry a user name or a password: prove who calls by the signature"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://example.com/hooks?token=x", None),
        ("https://example.com:8443/hooks", None),
        ("https://8.8.8.8/hooks", None),
        ("http://example.com/hooks", "must be an https:// address"),
        ("ftp://example.com/hooks", "must be an https:// address"),
        ("https:///hooks", "must be an https:// address"),
        ("nonsense", "must be an https:// address"),
        ("https://me:secret@example.com/", NAMED),
        ("https://example.com/#here", "must not have a fragment, the part behind #: it would never be sent"),
        ("https://example.com:0/", "names a port that there is not"),
        ("https://localhost/", PRIVATE),
        ("https://intranet/", PRIVATE),
        ("https://127.0.0.1/", PRIVATE),
        ("https://2130706433/", PRIVATE),
        ("https://0x7f.1/", PRIVATE),
        ("https://10.1.2.3/", PRIVATE),
        ("https://169.254.169.254/latest/meta-data", PRIVATE),
        ("https://[::1]/", PRIVATE),
        ("https://[::ffff:10.0.0.1]/", PRIVATE),
        ("https://[fe80::1]/", PRIVATE),
        ("https://[fe80::1%eth0]/", PRIVATE),
        ("https://[fec0::1]/", PRIVATE),
        ("https://[64:ff9b::7f00:1]/", PRIVATE),
        ("https://[2002:7f00:1::]/", PRIVATE),
        ("https://[::7f00:1]/", PRIVATE),
        ("https://100.64.0.1/", PRIVATE),
        ("https://0.0.0.0/", PRIVATE),
        ("https://0/", PRIVATE),
        ("https://127.0.0.1./", PRIVATE),
        ("https://0x7f.1./", PRIVATE),
        ("https://127\u30020\u30020\u30021/", PRIVATE),
        ("https://localhost./", PRIVATE),
        ("https://b\u00fccher.example/", None),
        ("https://xn--bcher-kva.example/", None),
        ("https://xn--ls8h.la/", None),
        ("https://example.com./", None),
        ("https://xn--0.example/", "is not an address"),
        ("https://xn--a/", PRIVATE),
        ("https://\uff11\uff12\uff17.0.0.1/", "is not an address"),
        ("https://a..b/", "is not an address"),
        ("https://a%41.example/", "is not an address"),
        ("https://" + "a" * 64 + ".example/", "is not an address"),
        ("https://" + "a." * 130 + "example/", "is not an address"),
        ("https://[::1", "is not an address"),
        ("https://example.com:99999/", "names a port that there is not"),
        ("https://example.com:-1/", "names a port that there is not"),
        ("https://token@example.com/", NAMED),
        ("http://10.9.0.7/", None),
        ("http://hooks.internal:8080/x", None),
        ("http://hooks.internal/x", "must be an https:// address"),
    ],
)
def test_where_an_endpoint_may_be(url: str, reason: str | None) -> None:
    network = ipaddress.ip_network("10.9.0.0/16")
    settings = WebhookSettings(hosts=("hooks.internal:8080",), networks=(network,))
    assert places.refusal_of(url, settings) == reason


async def told(service: Service, owner: Client, admin: Any, sink: Sink, url: str, **more: Any) -> dict[str, Any]:
    """The one try to tell something to an endpoint that was moved there; as the delivery log has it."""
    await endpoint(service, owner, sink)
    await admin.execute("UPDATE webhook_endpoints SET url = $1", url)
    await happens(service, owner.workspace_id, [new_id()])
    async with posting(service, sink, **more):
        await until(admin, "EXISTS (SELECT FROM webhook_attempts)")
    items: list[dict[str, Any]] = (await owner.get(f"{API}/webhook-attempts")).json()["items"]
    [row] = await admin.fetch("SELECT last_error FROM webhook_deliveries")
    assert items[0]["error"] == row["last_error"]
    return items[0]


async def test_a_name_that_means_a_private_address_is_refused_and_logged(
    service: Service, owner: Client, admin: Any, sink: Sink
) -> None:
    url = f"https://hooks.example.com:{sink.host.partition(':')[2]}/events"
    one = await told(service, owner, admin, sink, url, lookup=lambda host, port: ["127.0.0.1"])
    assert (one["error"], one["status"]) == (f"hooks.example.com {PRIVATE}", None)
    assert sink.heard == []


async def test_a_name_of_which_one_address_is_private_is_refused(
    service: Service, owner: Client, admin: Any, sink: Sink
) -> None:
    url = "https://hooks.example.com/events"
    one = await told(service, owner, admin, sink, url, lookup=lambda host, port: ["8.8.8.8", "169.254.169.254"])
    assert one["error"] == f"hooks.example.com {PRIVATE}"


async def test_a_name_that_means_something_else_a_moment_later_leads_nowhere(
    service: Service, owner: Client, admin: Any, sink: Sink
) -> None:
    """The connection goes to the address that was looked at: here to one where nobody answers, and never to ours."""
    asked: list[str] = []

    def rebinding(host: str, port: int | None) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) == 1 else ["127.0.0.1"]

    port = sink.host.partition(":")[2]
    networks = (ipaddress.ip_network("192.0.2.0/24"),)
    settings = WebhookSettings(networks=networks)
    url = f"https://hooks.example.com:{port}/events"
    one = await told(service, owner, admin, sink, url, lookup=rebinding, settings=settings)
    assert PRIVATE not in one["error"]
    assert sink.heard == []
    await admin.execute("UPDATE webhook_lines SET next_attempt_at = now()")
    async with posting(service, sink, lookup=rebinding, settings=settings):
        await until(admin, "(SELECT count(*) FROM webhook_attempts) = 2")
    errors = {row["error"] for row in await admin.fetch("SELECT error FROM webhook_attempts")}
    assert f"hooks.example.com {PRIVATE}" in errors
    assert sink.heard == []


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("https://169.254.169.254/latest", f"169.254.169.254 {PRIVATE}"),
        ("https://hooks.example.com/x", f"hooks.example.com {PRIVATE}"),
        ("http://example.com/x", "example.com must be an https:// address"),
        ("gopher://example.com/x", "example.com must be an https:// address"),
    ],
)
async def test_a_redirect_is_looked_at_like_any_address(
    service: Service, owner: Client, admin: Any, sink: Sink, location: str, error: str
) -> None:
    sink.answers["/events"] = [(307, {"location": location}, b"")]
    lookup = {"hooks.example.com": ["10.0.0.1"]}
    one = await told(service, owner, admin, sink, sink.url(), lookup=lambda host, port: lookup.get(host, ["127.0.0.1"]))
    assert one["error"] == error
    assert len(sink.heard) == 1


async def test_a_redirect_is_followed_with_the_same_request_and_not_in_circles(
    service: Service, owner: Client, admin: Any, sink: Sink
) -> None:
    sink.answers["/events"] = [(308, {"location": "/moved?to=x"}, b"")]
    one = await told(service, owner, admin, sink, sink.url())
    assert (one["status"], one["error"], one["url"]) == (200, None, sink.url("/moved"))
    assert sink.heard[0].body == sink.heard[1].body
    assert sink.heard[0].headers["webhook-signature"] == sink.heard[1].headers["webhook-signature"]
    sink.answers["/events"] = [(308, {"location": "/events"}, b"")] * 9
    await happens(service, owner.workspace_id, [new_id()])
    sink.heard.clear()
    async with posting(service, sink):
        await until(admin, "EXISTS (SELECT FROM webhook_attempts WHERE error LIKE '%more than 3 times')")
    assert len(sink.heard) == 4


async def test_a_redirect_that_would_lose_the_event_is_no_delivery(
    service: Service, owner: Client, admin: Any, sink: Sink
) -> None:
    sink.answers["/events"] = [(302, {"location": "/login"}, b"")]
    one = await told(service, owner, admin, sink, sink.url())
    assert one["error"] == "it answered 302, a redirect that cannot be followed with a POST: give its new address"
    assert [heard.path for heard in sink.heard] == ["/events"]


async def test_the_log_of_an_answer_is_bounded_and_holds_no_secret(
    service: Service, owner: Client, admin: Any, sink: Sink
) -> None:
    headers = {"set-cookie": "session=secret", "x-request-id": "r1", "authorization": "secret", "server": "x" * 500}
    sink.answers["/events"] = [(500, headers, b"\x00\xff" + b"x" * 100_000)]
    one = await told(service, owner, admin, sink, sink.url("/events?token=secret"))
    assert one["url"] == sink.url("/events")
    assert (one["status"], one["error"], len(one["body"])) == (500, "it answered 500", 2_000)
    assert set(one["headers"]) == {"date", "server", "x-request-id"}
    assert len(one["headers"]["server"]) == 200
    assert "secret" not in str(await admin.fetch("SELECT * FROM webhook_attempts"))


async def test_an_endpoint_nobody_listens_at_or_that_never_answers_says_so(
    service: Service, owner: Client, admin: Any, sink: Sink
) -> None:
    sink.silent = {"/events"}
    one = await told(service, owner, admin, sink, sink.url(), pace=Pace(poll=0.05, total=0.5))
    assert one["error"] == "it has not answered for 0.5 seconds"
    assert await admin.fetchval(f"SELECT NOT {NOTHING_WAITS}")
