"""What can be said on the command line."""

import argparse
from pathlib import Path
from typing import Any

from comms import settings

_DESCRIPTION = "comms: signed webhooks in, conversations on every agent's screen."
_EPILOG = """\
Begin with `comms up`: a database, a demo workspace and the service on http://127.0.0.1:8000.
Then, in another terminal, `comms simulate sms --body "Hello"` makes a message appear.

Configuration is by environment variables:
"""
_STATUSES = ("queued", "sending", "sent", "delivered", "undelivered", "failed", "read")


def parser() -> argparse.ArgumentParser:
    """Every command; ``run`` names the function that does it, as ``module:function`` of this package."""
    variables = "\n".join(f"  {name:<22} {meaning}" for name, meaning in settings.VARIABLES.items())
    parser = argparse.ArgumentParser(
        prog="comms",
        description=_DESCRIPTION,
        epilog=_EPILOG + variables,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="everything in one process: database, migrations, demo workspace, web, worker")
    _listening(up)
    up.add_argument("--no-demo", action="store_true", help="do not make the demo workspace")
    up.set_defaults(run="running:up")

    serve = commands.add_parser("serve", help="the web process")
    _listening(serve)
    serve.add_argument("--migrate", action="store_true", help="bring the database to the newest schema first")
    serve.set_defaults(run="running:serve")

    worker = commands.add_parser("worker", help="a process that works off jobs")
    _data(worker)
    worker.set_defaults(run="running:work")

    database = commands.add_parser("db", help="the schema: upgrade or downgrade")
    steps = database.add_subparsers(title="steps", required=True, metavar="STEP")
    for name, default in (("upgrade", "head"), ("downgrade", "-1")):
        step = steps.add_parser(name, help=f"{name} to a revision (default {default})")
        step.add_argument("revision", nargs="?", default=default)
        _data(step)
        step.set_defaults(run=f"schema:{name}")

    demo = commands.add_parser("demo", help="the demo workspace; with --scale, as full as after two years")
    demo.add_argument("--scale", action="store_true", help="fill it, once: takes minutes")
    demo.add_argument("--contacts", type=int, help="how many contacts (default 100000)")
    demo.add_argument("--messages", type=int, help="how many messages (default 1000000)")
    _data(demo)
    demo.set_defaults(run="demonstrating:make")

    _simulate(commands)

    catalogue = commands.add_parser("catalogue", help="the agent templates and packs that every workspace may install")
    does = catalogue.add_subparsers(title="what to do", required=True, metavar="WHAT")
    publish = does.add_parser("publish", help="publish a template, or a pack (it has agentTemplates), from a JSON file")
    publish.add_argument("file", type=Path, metavar="FILE.json")
    publish.set_defaults(run="catalogue:publish")
    withdraw = does.add_parser("withdraw", help="publish it no more, whoever wrote it; what was installed stays")
    withdraw.add_argument("slug")
    withdraw.set_defaults(run="catalogue:withdraw")
    for step in (publish, withdraw):
        _data(step)

    sink = commands.add_parser("sink", help="a mail server for development: mail reaches nobody, and can be looked at")
    sink.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    sink.add_argument("--port", type=int, default=1025, help="port to listen on (default 1025)")
    sink.add_argument("--folder", type=Path, help="where the mails are kept (default sent-mail in the data folder)")
    _data(sink)
    sink.set_defaults(run="sinking:sink")

    described = commands.add_parser("openapi", help="print the API's OpenAPI document")
    described.set_defaults(run="describing:openapi")

    doctor = commands.add_parser("doctor", help="what is misconfigured, in words")
    doctor.add_argument("--fix", action="store_true", help="tell the providers where our numbers post")
    _data(doctor)
    doctor.set_defaults(run="doctor:examine")
    return parser


def _simulate(commands: Any) -> None:
    simulate = commands.add_parser("simulate", help="post a signed webhook to the running demo, as a provider would")
    kinds = simulate.add_subparsers(title="kinds", required=True, metavar="KIND")

    sms = kinds.add_parser("sms", help="a customer texts the demo number")
    sms.set_defaults(run="simulating:message", media=0)
    mms = kinds.add_parser("mms", help="a customer sends pictures")
    mms.add_argument("--media", type=int, default=1, choices=range(1, 11), metavar="N", help="how many (default 1)")
    mms.set_defaults(run="simulating:message")
    for kind in (sms, mms):
        kind.add_argument("--from", dest="sender", metavar="NUMBER", help="who texts (default: the demo's customer)")
        kind.add_argument("--to", metavar="NUMBER", help="which of our numbers (default: the provider's demo number)")
        kind.add_argument("--body", default="Hello from the simulator", help="what they write")
        kind.add_argument("--sid", help="the provider's message id; the same one again is a repeated webhook")
        kind.add_argument("--whatsapp", action="store_true", help="over WhatsApp instead (Twilio only)")

    email = kinds.add_parser("email", help="a customer writes to the demo's mail address")
    email.add_argument("--from", dest="sender", metavar="ADDRESS", help="who writes (default: the demo's customer)")
    email.add_argument("--to", metavar="ADDRESS", help="which of our addresses (default: the demo's)")
    email.add_argument("--subject", help="(default Booking)")
    email.add_argument("--body", default="Hello from the simulator", help="what they write")
    email.add_argument("--html", help="the same as HTML")
    email.add_argument("--attach", type=Path, action="append", default=[], metavar="FILE", help="may be repeated")
    email.add_argument("--reply", action="store_true", help="answer the last mail that was sent")
    email.add_argument("--id", help="of the mail; the same one with the same content is a repeated webhook")
    email.add_argument("--automatic", action="store_true", help="as an absent person's program writes")
    email.add_argument("--unverified", action="store_true", help="neither DKIM nor SPF prove its sender")
    email.add_argument("--forged", action="store_true", help="sign with a wrong secret, to see it refused")
    email.set_defaults(run="simulating:email")
    _data(email)

    chat = kinds.add_parser("chat", help="a visitor of a website chats; and where to open a page that does")
    chat.add_argument(
        "--from", dest="sender", default="visitor@customer.example", metavar="ADDRESS", help="who says it"
    )
    chat.add_argument("--body", default="Hello from the simulator", help="what they write")
    chat.set_defaults(run="chatting:chat")
    _data(chat)

    status = kinds.add_parser("status", help="the provider reports what became of a message we sent")
    status.add_argument("status", nargs="?", default="delivered", choices=_STATUSES, help="(default delivered)")
    status.add_argument("--sid", help="the provider's id of the message (default: the last one sent)")
    status.add_argument("--error-code", help="such as 30003")
    status.set_defaults(run="simulating:status")

    call = kinds.add_parser("call", help="a customer calls the demo number")
    call.add_argument("--from", dest="sender", metavar="NUMBER", help="who calls (default: the demo's customer)")
    call.add_argument("--to", metavar="NUMBER", help="which of our numbers (default: the provider's demo number)")
    call.add_argument("--press", default="", metavar="KEYS", help="the keys they press, one each time they are asked")
    call.add_argument("--voicemail", metavar="TEXT", help="the message they leave when they are asked for one")
    call.add_argument("--talk", type=float, default=10, metavar="SECONDS", help="how long they talk with somebody")
    call.add_argument("--patience", type=float, metavar="SECONDS", help="after how many seconds they hang up")
    call.set_defaults(run="calling:call")

    for kind in (sms, mms, status, call):
        kind.add_argument("--provider", choices=("twilio", "signalwire"), default="twilio")
        kind.add_argument("--forged", action="store_true", help="sign with a wrong secret, to see it refused")
        _data(kind)


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, help="folder of the embedded database and demo.json (default .comms)")


def _listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8000)")
    _data(parser)
