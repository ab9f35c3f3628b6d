"""``make bench``: everything is started, measured, counted, stopped and told."""

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    agents,
    calls,
    channel,
    fanout,
    hooks,
    ledger,
    lists,
    live,
    machine,
    mail,
    memory,
    pauses,
    report,
    routing,
    sends,
    storm,
    throughput,
)
from bench.report import Results
from bench.stage import Stage, stage

PARTS = (
    "messages",
    "reports",
    "live",
    "fanout",
    "channel",
    "memory",
    "mail",
    "sends",
    "hooks",
    "storm",
    "voice",
    "pauses",
    "routing",
    "agents",
    "lists",
)

_TOWNS = (
    live.TOWN,
    fanout.TOWN,
    mail.TOWN,
    sends.TOWN,
    storm.TOWN,
    calls.TOWN,
    channel.TOWN,
    routing.TOWN,
    hooks.TOWN,
    pauses.TOWN,
    agents.TOWN,
    lists.TOWN,
    lists.NEIGHBOUR,
)
"""Whose there is one of each."""


def main() -> None:
    """Exits 1 when a row was missing or too many: then no figure means anything. A missed target is only said."""
    chosen = _arguments()
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {words}", file=sys.stderr, flush=True)

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    say("a database and its workspaces are made")
    with (
        asyncio.Runner() as runner,
        stage(
            runner,
            throughput.TOWNS | dict.fromkeys(_TOWNS, 1),
            chosen.folder,
        ) as built,
    ):
        command = " ".join(["python -m bench", *sys.argv[1:]])
        seen = report.Machine(machine.processor(), machine.sync_seconds(built.folder), command)
        results = Results(seen, comparisons=[])
        try:
            _measure(runner, built, chosen, results, say)
        except ledger.Miscounted as error:
            print(f"bench: {error}", file=sys.stderr)
            sys.exit(1)
        except Exception:  # raised again, after what the servers had to say
            print((built.folder / "servers.log").read_text()[-5_000:], file=sys.stderr)
            raise
    say("done")
    text = report.rendered(results)
    print(text)
    if chosen.write:
        report.write(text)


def _measure(
    runner: asyncio.Runner, built: Stage, chosen: argparse.Namespace, results: Results, say: Callable[[str], None]
) -> None:
    parts = chosen.only or PARTS
    if "memory" in parts:
        say("memory of a fresh process")
        with built.service() as server:
            results.memory = memory.measure(built, server)
    if "mail" in parts:
        say("a mail as large as they come")
        results.mails = runner.run(mail.measure(built))
    if "sends" in parts:
        say("messages that leave")
        results.sends = runner.run(sends.measure(built, sends.Plan(100, 20) if chosen.quick else sends.Plan()))
    if "hooks" in parts:
        say("events that leave as webhooks")
        results.hooks = runner.run(hooks.measure(built, hooks.Plan(50, 20, 60) if chosen.quick else hooks.Plan()))
    if "storm" in parts:
        of_storm = storm.plan_of(chosen.storm or (20_000 if chosen.quick else 1_000_000))
        say(f"{of_storm.reports:,} delivery reports of one campaign")
        with built.service() as server:
            results.storm = runner.run(storm.measure(built, server, of_storm))
    if "voice" in parts:
        say("from a call to the first word")
        with built.service() as server:
            results.calls = runner.run(
                calls.measure(built, server, calls.Plan(seconds=4) if chosen.quick else calls.Plan())
            )
    if "pauses" in parts:
        of_pauses = pauses.Plan(seconds=10) if chosen.quick else pauses.Plan()
        say(f"{of_pauses.runs:,} runs of workflows that wait")
        results.pauses = runner.run(pauses.measure(built, of_pauses))
    if "routing" in parts:
        say("conversations that are given to people")
        of_people = routing.Plan(waiting=1_000, closures=20) if chosen.quick else routing.Plan()
        results.routing = runner.run(routing.measure(built, of_people))
    if "live" in parts:
        say("from webhook to websocket")
        plan = live.Plan(seconds=4) if chosen.quick else live.Plan()
        with built.service() as server:
            runner.run(live.measure(built, server, live.Plan(seconds=1), "live-warm"))
            latency = runner.run(live.measure(built, server, plan))
        bare = runner.run(fanout.library_paced(built, plan.sockets, plan.rate * plan.seconds, plan.rate))
        results.live = live.Beside(latency, *bare)
    if "fanout" in parts:
        plans = [fanout.Plan(1_000, 500, 100, 20), fanout.Plan(5_000, 100, 25, 5)]
        for fan in plans[:1] if chosen.quick else plans:
            say(f"one event to {fan.sockets:,} sockets")
            results.fanouts.append(runner.run(fanout.measure(built, fan)))
    if "channel" in parts:
        say("a message to five hundred people")
        with built.service() as server:
            results.channel = runner.run(
                channel.measure(built, server, channel.Plan(messages=30) if chosen.quick else channel.Plan())
            )
    plan_of_rounds = throughput.Plan(
        rounds=chosen.rounds or (1 if chosen.quick else 3),
        seconds=chosen.seconds or (2.0 if chosen.quick else 3.0),
        connections=(1, 64) if chosen.quick else (1, 16, 64, 256),
        clients=(16, 64) if chosen.quick else (4, 16, 64),
    )
    kinds: dict[str, throughput.Kind] = {"messages": "messages", "reports": "message-status"}
    if set(parts) & set(kinds):
        with built.naive() as naive, built.service() as comms:
            for part in parts:
                if part in kinds:
                    servers = {"naive": naive, "comms": comms}
                    track = throughput.Track(runner, built, kinds[part], servers, plan_of_rounds)
                    results.comparisons.append(track.compare(say))
    if "agents" in parts:
        say("agents claim and answer")
        with built.service() as server:
            results.agents = runner.run(
                agents.measure(built, server, agents.Plan(conversations=300) if chosen.quick else agents.Plan())
            )
    if "lists" in parts:  # last: what it fills in would be in the way of the others
        of_lists = lists.Plan(20_000, 200_000, times=5) if chosen.quick else lists.Plan()
        say("the ordinary handler, to compare with")
        with built.naive() as naive:
            track = throughput.Track(runner, built, "messages", {"naive": naive}, plan_of_rounds)
            ordinary = track.alone("naive").p50
        runner.run(lists.fill(built, of_lists, say))
        say("every list, page by page")
        with built.service() as server:
            results.lists = lists.measure(built, server, of_lists, ordinary)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look in a minute and a half; the figures are rough")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given several times")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 3)")
    parser.add_argument("--seconds", type=float, help="how long each time (default 3)")
    parser.add_argument("--storm", type=int, metavar="REPORTS", help="how many the storm has (default a million)")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure on (default /var/tmp)")
    parser.add_argument("--write", action="store_true", help="the figures go to bench/README.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
