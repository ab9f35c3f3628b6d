"""What lines do when they are told to: what is said is heard, keys are pressed, phones ring, people talk."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

from comms.simulators import wire
from comms.simulators.telephone.lines import Line, Over
from comms.simulators.telephone.wires import Wires


class Obedient(Wires):
    """Lines that do what documents say."""

    async def _obey(self, line: Line, document: ET.Element, base: str) -> tuple[str, Mapping[str, str]] | None:
        """What is to be asked next, if anything."""
        for verb in document:
            if line.is_over:
                raise Over
            match verb.tag:
                case "Say":
                    line.heard.append(verb.text or "")
                case "Play":
                    line.heard.append(f"♪ {verb.text}")
                    await self._wait(line, 10)
                case "Pause":
                    await self._wait(line, float(verb.get("length", "1")))
                case "Gather":
                    for prompt in verb:
                        line.heard.append(prompt.text or "")
                    pressed = await self._press(line, verb)
                    if pressed:
                        return urljoin(base, verb.get("action", base)), pressed
                case "Redirect":
                    return urljoin(base, verb.text or base), {}
                case "Record":
                    return urljoin(base, verb.get("action", base)), await self._record(line, verb)
                case "Dial":
                    result = await self._dial(line, verb, base)
                    return urljoin(base, verb.get("action", base)), result
                case "Enqueue":
                    return urljoin(base, verb.get("action", base)), await self._enqueue(line, verb, base)
                case "Leave" | "Hangup":
                    raise Over
        return None

    async def _press(self, line: Line, verb: ET.Element) -> Mapping[str, str]:
        if line.person.mailbox:
            await self._wait(line, 8)
            return {}
        key = line.keys.popleft() if line.keys else ""
        word = line.words.popleft() if not key and line.words else ""
        await self._wait(line, 1 if key or word else float(verb.get("timeout", "5")))
        if key == "hangup":
            raise Over
        if word and "speech" in verb.get("input", "dtmf"):
            return {"SpeechResult": word, "Confidence": "0.9"}
        return {"Digits": key} if key else {}

    async def _record(self, line: Line, verb: ET.Element) -> Mapping[str, str]:
        if line.person.message is None:
            raise Over
        await self._wait(line, 3)
        recording = self._recorded(line, verb, "RecordVerb", 3)
        heard = verb.get("transcribeCallback")
        if heard:
            said = {"TranscriptionSid": wire.sid("TR"), "TranscriptionStatus": "completed"}
            said |= {"TranscriptionText": line.person.message, "RecordingSid": recording["RecordingSid"]}
            self._later(self._post(heard, self._params(line) | said, 2 * self.second))
        line.status = "completed"
        return {**recording, "Digits": "hangup"}

    def _records(self, line: Line, verb: ET.Element) -> str | None:
        """The recording that begins now, if one is wanted; it is told."""
        if not verb.get("record"):
            return None
        sid = wire.sid("RE") if self.is_twilio else wire.uuid()
        self.recordings[sid] = line.sid
        callback = verb.get("recordingStatusCallback")
        if callback and "in-progress" in verb.get("recordingStatusCallbackEvent", ""):
            told = {"CallSid": line.sid, "AccountSid": self.account, "RecordingSid": sid}
            self._later(self._post(callback, told | {"RecordingStatus": "in-progress"}, 0))
        return sid

    def _recorded(
        self, line: Line, verb: ET.Element, source: str, seconds: int, sid: str | None = None
    ) -> dict[str, str]:
        sid = sid or (wire.sid("RE") if self.is_twilio else wire.uuid())
        place = f"{self.recordings_at}/2010-04-01/Accounts/{self.account}/Recordings/{sid}"
        recording = {"RecordingSid": sid, "RecordingUrl": place, "RecordingDuration": str(seconds)}
        callback = verb.get("recordingStatusCallback")
        if callback:
            told = recording | {"RecordingStatus": "completed", "RecordingChannels": "1", "RecordingSource": source}
            self._later(self._post(callback, {"CallSid": line.sid, "AccountSid": self.account, **told}, self.second))
        return recording

    async def _dial(self, line: Line, verb: ET.Element, base: str) -> Mapping[str, str]:
        for noun in verb:
            if noun.tag == "Conference":
                await self._confer(line, noun)
                return {"DialCallStatus": "answered"}
            if noun.tag == "Queue":
                return await self._take_from_queue(line, verb, noun.text or "")
        numbers = [noun for noun in verb if noun.tag == "Number"]
        legs: list[tuple[Line, ET.Element]] = []
        for noun in numbers:
            to = noun.text or ""
            leg = self._line(line.sender, to, "outbound-dial", self.people.get(to, self.anybody), line.sid)
            leg.callback = noun.get("statusCallback")
            legs.append((leg, noun))
        taken: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        seconds = float(verb.get("timeout", "30"))
        rings = [self._later(self._reach(leg, noun, base, seconds, taken)) for leg, noun in legs]
        alone, rung = self._later(line.ended.wait()), self._later(_all_over(rings))
        try:
            over: list[asyncio.Future[Any]] = [taken, alone, rung]
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            won = taken.result() if taken.done() else None
            for leg, _ in legs:
                if leg is not won:
                    self.hang_up(leg, "canceled" if leg.status in ("queued", "initiated", "ringing") else "completed")
            if won is None:
                last = legs[0][0] if legs else line
                status = "no-answer" if any(leg.status == "no-answer" for leg, _ in legs) else last.status
                return {"DialCallStatus": status, "DialCallSid": last.sid, **self._bridged(False)}
            recording = self._records(line, verb)
            await self._talk(line, won)
            if recording is not None:
                self._recorded(line, verb, "DialVerb", 10, recording)
            done = {"DialCallStatus": "completed", "DialCallSid": won.sid, "DialCallDuration": "10"}
            return done | self._bridged(True)
        except asyncio.CancelledError:
            for leg, _ in legs:
                if not _was_taken(leg):
                    self.hang_up(leg)
            raise
        finally:
            for waiting in (alone, rung, *rings):
                if not waiting.done():  # to call off what has failed would hush it
                    waiting.cancel()

    async def _reach(
        self, leg: Line, noun: ET.Element, base: str, seconds: float, taken: "asyncio.Future[Line]"
    ) -> None:
        leg.status = "initiated"
        self.tell(leg)
        if not await self._rings(leg, seconds):
            return
        with suppress(Over):
            following: tuple[str, Mapping[str, str]] | None = (
                (urljoin(base, noun.get("url", "")), {}) if noun.get("url") else None
            )
            while following is not None:
                following = await self._obey(leg, await self._document(leg, *following), following[0])
            if not taken.done() and not leg.is_over:
                if noun.get("amdStatusCallback"):
                    told = {"CallSid": leg.sid, "AccountSid": self.account, "MachineDetectionDuration": "2100"}
                    told["AnsweredBy"] = "machine_start" if leg.person.mailbox else "human"
                    self._later(self._post(str(noun.get("amdStatusCallback")), told, self.second))
                taken.set_result(leg)
                return
        self.hang_up(leg)

    async def _talk(self, line: Line, other: Line) -> str:
        """The two talk until one hangs up, or is taken elsewhere."""
        line.bridge = other.bridge = bridge = asyncio.get_running_loop().create_future()
        seconds = min((each for each in (line.person.talks, other.person.talks) if each is not None), default=None)
        wait = None if seconds is None else seconds * self.second
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(bridge), wait)
        how = bridge.result() if bridge.done() else "hangup"
        if not bridge.done():
            bridge.set_result(how)
        if not _was_taken(other):
            self.hang_up(other)
        line.bridge = other.bridge = None
        return how

    async def _enqueue(self, line: Line, verb: ET.Element, base: str) -> Mapping[str, str]:
        waiting = self.queues.setdefault(verb.text or "", [])
        sid = self.queue_sids.setdefault(verb.text or "", wire.sid("QU") if self.is_twilio else wire.uuid())
        waiting.append(line)
        line.bridge = over = asyncio.get_running_loop().create_future()
        began = asyncio.get_running_loop().time()
        result = "bridged"
        try:
            while line in waiting and not over.done():
                waited = str(int((asyncio.get_running_loop().time() - began) / self.second))
                place = {"QueuePosition": str(waiting.index(line) + 1), "QueueTime": waited}
                document = await self._document(line, urljoin(base, verb.get("waitUrl", "")), place)
                if any(element.tag == "Leave" for element in document):
                    result = "leave"
                    break
                line.heard += [element.text or "" for element in document if element.tag in ("Say", "Play")]
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(over), 5 * self.second)
            if result != "leave":
                await over  # somebody talks with them, until that is over
            if line.is_over:
                raise Over
        finally:
            line.bridge = None
            if line in waiting:
                waiting.remove(line)
        return {"QueueResult": result, "QueueSid": sid, "QueueTime": "5"}

    async def _take_from_queue(self, line: Line, verb: ET.Element, name: str) -> Mapping[str, str]:
        waiting = self.queues.get(name, [])
        if not waiting:
            return {"DialCallStatus": "no-answer"}
        caller = waiting.pop(0)
        over = caller.bridge
        recording = self._records(line, verb)
        line.bridge = caller.bridge = together = asyncio.get_running_loop().create_future()
        seconds = min((each for each in (line.person.talks, caller.person.talks) if each is not None), default=None)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(together), None if seconds is None else seconds * self.second)
        finally:
            line.bridge = caller.bridge = None
            if over is not None and not over.done():
                over.set_result("bridged")
            if recording is not None:
                self._recorded(line, verb, "DialVerb", 10, recording)
        return {"DialCallStatus": "completed", "DialCallSid": caller.sid, "DialCallDuration": "10"}

    async def _confer(self, line: Line, noun: ET.Element) -> None:
        """The line is in a room until it leaves, or whoever ends the room does."""
        name = noun.text or ""
        room = self.rooms.setdefault(name, [])
        room.append(line)
        try:
            seconds = line.person.talks
            while not line.is_over and line in room:
                together = len(room) > 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(line.ended.wait(), self.second)
                if together and seconds is not None:
                    seconds -= 1
                    if seconds <= 0:
                        raise Over
        finally:
            if line in room:
                room.remove(line)
            if noun.get("endConferenceOnExit") == "true":
                room.clear()


def _was_taken(line: Line) -> bool:
    """Whether the line was taken away from whoever it talked with."""
    return line.bridge is not None and line.bridge.done() and line.bridge.result() == f"redirected {line.sid}"


async def _all_over(rings: Sequence["asyncio.Task[Any]"]) -> None:
    """Every one of these is over; what one raised is left to be heard of."""
    for ring in rings:
        await asyncio.wait([ring])
