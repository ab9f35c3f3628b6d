"""``comms up`` for the first time, for the second time, and where it cannot run."""

import os
import resource
import shlex
import shutil
import signal
import socket
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from comms import demo
from comms.cli import running as running_command
from models.base import new_id
from tests.journeys import processes
from tests.journeys.conftest import Pair
from tests.journeys.processes import Process, comms, run, running
from tests.journeys.waiting import until_now


def test_the_first_start_makes_a_demo_that_works_and_the_second_uses_it_again(place: Path) -> None:
    data_dir = place / "data"
    with running("up", "--data-dir", data_dir, folder=place) as process:
        first = _demo_of(data_dir, process)
        lines = [line.strip() for line in process.said.splitlines()]
        tries = [line[3:] for line in lines if line[:3] in ("1. ", "2. ", "3. ")]
        assert len(tries) == 3
        _simulated(tries[0], first)
        _asked(tries[1])
        assert httpx.get(tries[2].split()[1]).status_code == 200
        _pictures_and_reports_arrive(data_dir, first)
        _an_answer_is_delivered(first)
        _calls_are_made_and_end(first)
        _a_caller_is_handed_over(data_dir, first)
    assert process.child.exitcode == 0
    assert processes.processes_over(data_dir) == []

    with running("up", "--data-dir", data_dir, folder=place) as process:
        second = _demo_of(data_dir, process)
        assert second == first | {"baseUrl": process.url, "publicUrl": process.url}
        (conversation,) = _get(second, "conversations", channel="sms")
        assert conversation["messageCount"] == 4
        process.ask_to_stop(signal.SIGINT)  # Ctrl-C is as good
        assert process.stopped() == 0
    assert processes.processes_over(data_dir) == []


def test_a_taken_port_is_told_in_one_sentence_before_anything_is_made(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = comms("up", "--port", str(port), "--data-dir", place / "data")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"comms: cannot listen on 127.0.0.1 port {port}: Address already in use."
        " Stop what uses it, or choose another with --port.\n"
    )
    assert not (place / "data").exists()


def test_a_wrong_configuration_names_every_variable_at_once() -> None:
    wrong = {
        "DATABASE_URL": "mysql://somewhere",
        "DATABASE_POOL_SIZE": "many",
        "COMMS_PORT": "80000",
        "PUBLIC_URL": "hooks.example.com",
        "COMMS_SECRET_KEY": "k1:c2hvcnQ=",
        "COMMS_LOG_LEVEL": "loud",
        "COMMS_DATABASE": "/tmp",
    }
    ended = comms("up", **wrong)
    assert ended.returncode == 2
    heading, *problems = ended.stderr.splitlines()
    assert heading == "comms cannot run with this configuration:"
    assert sorted(problem.split()[0] for problem in problems) == sorted(wrong)
    assert "c2hvcnQ=" not in ended.stderr


def test_data_of_another_postgres_is_told_in_one_sentence(place: Path) -> None:
    (place / "data" / "postgres").mkdir(parents=True)
    (place / "data" / "postgres" / "PG_VERSION").write_text("16\n")
    _refuses(
        comms("up", "--port", str(processes.free_port()), "--data-dir", place / "data"),
        f"comms: {place}/data/postgres was written by PostgreSQL 16 and this comms brings 18: ",
    )


def test_a_folder_without_write_permission_is_told_in_one_sentence(place: Path) -> None:
    place.chmod(0o555)
    ended = _as_somebody("up", "--port", str(processes.free_port()), "--data-dir", place / "data")
    place.chmod(0o755)
    _refuses(ended, f"comms: comms may not write {place}/data (Permission denied): ")


def test_who_examines_a_folder_they_may_not_enter_is_told_in_one_sentence(place: Path) -> None:
    place.chmod(0)
    ended = _as_somebody("doctor", "--data-dir", place / "data")
    place.chmod(0o755)
    _refuses(ended, f"comms: comms may not write {place}/data (Permission denied): ")


def test_a_process_has_room_for_more_sockets_than_its_shell_would_give_it() -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, allowed[1]))
    try:
        running_command.room_for_sockets()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft in (hard, running_command.MOST_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)


def test_simulating_without_a_demo_says_how_to_get_one(place: Path) -> None:
    ended = comms("simulate", "sms", "--data-dir", place)
    _refuses(ended, f"comms: there is no demo in {place}: start one with `comms up`")


def test_simulating_beside_somebody_elses_service_says_what_it_answers(place: Path, pair: Pair) -> None:
    lines = [demo.DemoConnection(new_id(), "twilio", {}, phone_number="+14155550100", phone_number_id=new_id())]
    url = pair.one.url
    demo.write(demo.Demo(url, url, new_id(), new_id(), "owner@demo.example", "ck_" + "a" * 43, lines), place)
    for kind in ("status", "chat"):
        _refuses(comms("simulate", kind, "--data-dir", place), "comms: GET /api/v1/")


def _demo_of(data_dir: Path, process: Process) -> dict[str, Any]:
    """What demo.json says, which is all that a client needs."""
    path = data_dir / "demo.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made: dict[str, Any] = httpx.Response(200, content=path.read_bytes()).json()
    assert set(made) == {
        "baseUrl", "publicUrl", "workspaceId", "userId", "email", "accessToken", "connections",
    }  # fmt: skip
    assert made["baseUrl"] == made["publicUrl"] == process.url
    assert made["accessToken"].startswith("ck_")
    lines = {line["provider"]: line for line in made["connections"]}
    assert set(lines) == {"twilio", "signalwire", "sendgrid"}
    for provider in ("twilio", "signalwire"):
        assert set(lines[provider]) == {"id", "provider", "secret", "phoneNumber", "phoneNumberId"}
        (number,) = _get(made, "workspace-phone-numbers", phoneNumber=lines[provider]["phoneNumber"])
        assert number["id"] == lines[provider]["phoneNumberId"]
    assert {"id", "provider", "secret", "emailAddress"} <= set(lines["sendgrid"])
    return made


def _simulated(line: str, made: dict[str, Any]) -> None:
    """The first thing to try makes a message appear; the program may be installed elsewhere."""
    _, _, arguments = line.partition("comms simulate ")
    done = comms("simulate", *shlex.split(arguments))
    assert done.returncode == 0, done.stderr
    (message,) = _get(made, "conversation-messages", direction="inbound")
    assert message["content"] == "Is the 3pm slot still open?"
    assert message["id"] in done.stdout


def _asked(line: str) -> None:
    """The second thing to try shows the conversation."""
    if shutil.which("curl") is None:
        return
    done = run(("sh", "-c", line))
    assert '"messageCount":2' in done.stdout, done


def _pictures_and_reports_arrive(data_dir: Path, made: dict[str, Any]) -> None:
    """The other things that can be simulated."""
    with ThreadPoolExecutor() as several:
        mms = several.submit(comms, "simulate", "mms", "--media", "2", "--body", "look", "--data-dir", data_dir)
        report = several.submit(comms, "simulate", "status", "delivered", "--data-dir", data_dir)
    assert mms.result().returncode == 0, mms.result().stderr
    until_now(lambda: _get(made, "conversation-messages", direction="inbound", q="look"), within=10)
    (message,) = _get(made, "conversation-messages", direction="inbound", q="look")
    assert message["id"] in mms.result().stdout
    until_now(lambda: len(_get(made, "message-attachments", messageId=message["id"], state="stored")) == 2, within=10)
    assert report.result().stdout.splitlines()[-1] == "the message is now delivered"
    (sent,) = _get(made, "conversation-messages", direction="outbound")
    assert sent["status"] == "delivered"


def _an_answer_is_delivered(made: dict[str, Any]) -> None:
    """Without any account: the demo's provider takes it, and reports on it."""
    (talk,) = _get(made, "conversations")
    answer = httpx.post(
        f"{made['baseUrl']}/api/v1/conversations/{talk['id']}/messages",
        json={"content": "Yes, it is!"},
        headers={"Authorization": f"Bearer {made['accessToken']}"},
    )
    assert (answer.status_code, answer.json()["status"]) == (201, "queued"), answer.text
    until_now(lambda: _get(made, "conversation-messages", q="Yes, it is!", status="delivered"), within=10)


def _calls_are_made_and_end(made: dict[str, Any]) -> None:
    """The demo's phones are answered: one call goes on until nobody has more to say, another until we hang up."""
    api, headers = f"{made['baseUrl']}/api/v1", {"Authorization": f"Bearer {made['accessToken']}"}
    assert httpx.put(f"{api}/me/phone", json={"phone": "+14155550111"}, headers=headers).status_code == 200
    for line in (line for line in made["connections"] if "phoneNumber" in line):
        number = {"to": "+14155550199", "phoneNumberId": line["phoneNumberId"]}
        placed = httpx.post(f"{api}/calls", json=number, headers=headers)
        assert placed.status_code == 202, placed.text
        answered = {"direction": "outbound", "outcome": "answered", "phoneNumberId": line["phoneNumberId"]}
        if line["provider"] == "twilio":
            until_now(lambda: _get(made, "calls", status="in_progress"), within=15)
            assert httpx.post(f"{api}/calls/{placed.json()['id']}/hang-up", headers=headers).status_code == 204
        until_now(lambda query=answered: _get(made, "calls", **query), within=15)


def _a_caller_is_handed_over(data_dir: Path, made: dict[str, Any]) -> None:
    """Somebody calls, is answered, left to whoever is asked, taken to somebody else at once, and hung up on."""
    [line] = (line for line in made["connections"] if line["provider"] == "twilio")
    headers = {"Authorization": f"Bearer {made['accessToken']}"}
    with httpx.Client(base_url=f"{made['baseUrl']}/api/v1", headers=headers) as api, ThreadPoolExecutor(1) as threads:
        flow = {"start": "ring", "steps": {"ring": {"type": "ring", "numbers": ["+14155550111"], "next": "message"}}}
        flow["steps"]["message"] = {"type": "voicemail"}
        changed = api.patch(f"/workspace-phone-numbers/{line['phoneNumberId']}", json={"voiceFlow": flow})
        assert changed.status_code == 200, changed.text
        caller = threads.submit(comms, "simulate", "call", "--talk", "60", "--data-dir", data_dir)
        until_now(lambda: _get(made, "calls", direction="inbound", status="in_progress"), within=20)
        [call] = _get(made, "calls", direction="inbound")
        place = f"/calls/{call['id']}"
        until_now(lambda: _get(made, "call-legs", callId=call["id"], role="agent", status="in_progress"), within=20)
        for kind, to in (("warm", "+14155550122"), ("blind", "+14155550133")):
            begun = api.post(f"{place}/transfer", json={"kind": kind, "phoneNumber": to})
            assert begun.status_code == 201, begun.text
            if kind == "warm":
                until_now(lambda: _get(made, "call-transfers", callId=call["id"], state="consulting"), within=20)
                assert api.post(f"{place}/transfer-completion").status_code == 201
            done = {"callId": call["id"], "state": "completed", "kind": kind}
            until_now(lambda query=done: _get(made, "call-transfers", **query), within=20)
        assert api.post(f"{place}/hang-up").status_code == 204
        ended = caller.result(timeout=30)
    assert ended.returncode == 0, ended.stderr
    assert "is over: completed" in ended.stdout


def _get(made: dict[str, Any], resource: str, **query: str) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{made['baseUrl']}/api/v1/{resource}",
        params=query,
        headers={"Authorization": f"Bearer {made['accessToken']}"},
    )
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def _as_somebody(*words: str | Path) -> Any:
    """As a user to whom no folder is open that is not open to everybody."""
    somebody = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); " if os.geteuid() == 0 else ""
    return run((sys.executable, "-c", f"from comms.cli import doctor, main, running; {somebody}main()", *words))


def _refuses(ended: Any, beginning: str) -> None:
    """It exits with 1 and says why, in one line and without a stack trace."""
    assert ended.returncode == 1
    assert ended.stderr.startswith(beginning), ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""
