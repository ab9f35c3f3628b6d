"""The web process is killed, or told to stop, while providers post: what was acknowledged is there, once."""

import asyncio
from typing import Any

from tests.journeys import books as promise
from tests.journeys import processes
from tests.journeys.desks import phone
from tests.journeys.house import House
from tests.journeys.lines import Line, Load, Refused
from tests.journeys.waiting import until

MANY = 2000


async def test_a_killed_web_process_has_kept_each_acknowledged_message_once(house: House) -> None:
    process = await house.up()
    texts = house.desk.texts(MANY, senders=60)
    load = Load([process.port], texts, lines=32)
    await load.until_acknowledged(400)
    process.kill()
    load.stop()
    await load.over()
    assert set(load.answers.values()) == {200}
    assert load.unanswered, "nothing was under way when the process was killed"

    process = await house.up()
    async with house.books() as books:
        await promise.hold(books, house.desk.workspace_id, load.acknowledged)
        begun = {sid: texts[sid] for sid in load.answers | load.unanswered}
        again = Load([process.port], {sid: house.desk.text(phone(0), sid=sid) for sid in begun})
        await again.over()
        assert again.acknowledged == set(begun)
        await promise.hold(books, house.desk.workspace_id, begun)


async def test_a_process_told_to_stop_answers_what_it_has_begun_and_takes_its_database_along(house: House) -> None:
    process = await house.up()
    desk = house.desk
    load = Load([process.port], desk.texts(MANY, senders=60), lines=16)
    await load.until_acknowledged(200)
    async with house.books() as books:
        halfway = Line(process.port)
        late = desk.text(phone(3))
        await halfway.begin(late, 40)
        async with books.transaction():
            await books.execute("SELECT FROM event_counters WHERE workspace_id = $1 FOR UPDATE", desk.workspace_id)
            await _are_waiting(books)
            process.ask_to_stop()
            load.stop()
            await asyncio.sleep(0.5)
            assert await _refuses(process.port)
            assert process.is_alive
            await halfway.go_on(late.body[40:])
        await load.over()
        assert await halfway.answer() == 200
    assert load.unanswered == {}
    assert set(load.answers.values()) == {200}
    assert not load.refused
    assert process.stopped() == 0
    assert processes.processes_over(house.data_dir) == []

    await house.up()
    async with house.books() as books:
        await promise.hold(books, desk.workspace_id, load.acknowledged)


async def test_a_stop_under_full_load_leaves_no_request_without_an_answer(house: House) -> None:
    process = await house.up()
    load = Load([process.port], house.desk.texts(MANY, senders=60), lines=16)
    await load.until_acknowledged(200)
    process.ask_to_stop()
    await asyncio.to_thread(process.stopped)
    load.stop()
    await load.over()
    assert set(load.answers.values()) == {200}
    assert load.unanswered == {}
    assert load.refused

    await house.up()
    async with house.books() as books:
        await promise.hold(books, house.desk.workspace_id, load.acknowledged)


async def _are_waiting(books: Any) -> None:
    """Both lanes wait for the lock we hold, and every line's request has been read behind them."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'comms_worker'"
    await until(lambda: books.fetchval(waiting), within=5)
    await asyncio.sleep(0.3)


async def _refuses(port: int) -> bool:
    try:
        await Line(port).open()
    except Refused:
        return True
    return False
