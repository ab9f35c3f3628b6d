"""The page an invitation's link leads to."""

import re
from base64 import b64encode
from hashlib import sha256

import httpx

from tests.conftest import PUBLIC_URL, Client

API = "/api/v1"


async def test_the_link_leads_to_a_page_that_needs_nothing_else(owner: Client, anonymous: httpx.AsyncClient) -> None:
    invited = (await owner.post(f"{API}/workspace-members", json={"email": "new@x.example", "role": "member"})).json()
    link = invited["link"]
    assert link.startswith(f"{PUBLIC_URL}/invitations/")
    answer = await anonymous.get(link)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert link.rsplit("/", 1)[1] not in answer.text
    assert not re.findall(r"(?:src|href|url\()", answer.text)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_the_page_may_run_its_own_script_and_ask_us_alone(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/invitations/ci_whatever")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    for element in ("script", "style"):
        [content] = re.findall(rf"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
        assert policy[f"{element}-src"] == f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
    assert (policy["default-src"], policy["connect-src"], policy["form-action"]) == ("'none'", "'self'", "'none'")
    assert not re.findall(r' on[a-z]+="| style="', answer.text)


async def test_what_the_page_asks_is_what_the_api_answers(owner: Client, anonymous: httpx.AsyncClient) -> None:
    invited = (await owner.post(f"{API}/workspace-members", json={"email": "new@x.example", "role": "member"})).json()
    path = invited["link"].removeprefix(PUBLIC_URL)
    page = (await anonymous.get(path)).text
    told = (await anonymous.get(f"{API}{path}")).json()
    assert set(re.findall(r"invited\.(\w+)", page)) <= set(told)
    body = {"password": "correct horse battery", "firstName": "Nia"}
    session = (await anonymous.post(f"{API}{path}/acceptance", json=body)).json()
    assert {"token", "workspace"} <= set(session)
    assert set(re.findall(r"said\.(\w+)", page)) | {"password"} == {"password", "firstName", "lastName"}
