"""Verbs as TwiML, which SignalWire's cXML repeats, by Twilio's own builder: it escapes, and knows the names.

SignalWire wants the action of a <Dial> absolute, so every address is; and it is told nothing that it does not know.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import quoteattr

import msgspec
from twilio.twiml.voice_response import VoiceResponse

from comms.calls import verbs as v

TURNS = frozenset({"voice-step", "voice-dial", "voice-queue", "voice-message"})
"""Where a caller's line goes on: each request for one of these is numbered, so that a repeated one is known."""

HOLD_MUSIC = "/sounds/hold.wav"
PROGRESS = "initiated ringing answered completed"
RECORDED = "in-progress completed absent"


class Line(msgspec.Struct, frozen=True):
    """Whose dialect is spoken, where the provider asks us, and the voice that speaks."""

    provider: str
    base_url: str
    language: str = "en-US"
    voice: str | None = None
    turn: int = 0

    def at(self, place: v.Place) -> str:
        """The whole address of a place."""
        query = [*place.query, *([("turn", str(self.turn))] if place.kind in TURNS else [])]
        return f"{self.base_url}/{place.kind}" + (f"?{urlencode(query)}" if query else "")


def written(line: Line, verbs: Sequence[v.Verb]) -> str:
    """The document that tells a line of ``line.provider`` to do this."""
    response = VoiceResponse()
    for verb in verbs:
        _write(response, line, verb)
    return v.UNSPEAKABLE.sub("", str(response))  # one such character in a name, and the whole would be no document


def unavailable(line: Line) -> str:
    """What a caller hears when we have failed: they may leave a message. Made of nothing that could fail again."""
    then = quoteattr(line.at(v.place("voice-message", lost=1)))
    heard = quoteattr(line.at(v.place("voice-recording", kind="voicemail")))
    written_down = quoteattr(line.at(v.place("voice-transcription")))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Response><Say>We cannot take your call right now. Please leave a'
        f' message after the tone.</Say><Record action={then} maxLength="120" recordingStatusCallback={heard}'
        f' transcribe="true" transcribeCallback={written_down}/><Hangup/></Response>'
    )


# What else is heard when we have failed, just as firmly made.
_DOCUMENT = '<?xml version="1.0" encoding="UTF-8"?><Response>{}</Response>'
NOTHING = _DOCUMENT.format("")
THANKS = _DOCUMENT.format("<Say>Thank you. Goodbye.</Say><Hangup/>")
BROKEN = _DOCUMENT.format("<Say>Something has gone wrong. Please try again.</Say><Hangup/>")
A_MOMENT = _DOCUMENT.format('<Pause length="5"/>')


def _write(into: Any, line: Line, verb: v.Verb) -> None:
    recorded: dict[str, Any] = {
        "recording_status_callback": line.at(v.place("voice-recording", kind="call")),
        "recording_status_callback_event": RECORDED,
    }
    match verb:
        case v.Say():
            into.say(verb.text, language=line.language, **({"voice": line.voice} if line.voice else {}))
        case v.Play():
            into.play(verb.url, loop=verb.loop)
        case v.Music():
            into.play(line.base_url.partition("/webhooks/")[0] + HOLD_MUSIC)
        case v.Pause():
            into.pause(length=verb.seconds)
        case v.Gather():
            options: dict[str, Any] = {"num_digits": 1, "timeout": verb.seconds, "input": "dtmf"}
            options["finish_on_key"] = ""  # else # is no key
            if verb.listens:
                options |= {"input": "dtmf speech", "language": line.language, "hints": ", ".join(verb.hints) or None}
            gathered = into.gather(action=line.at(verb.then), method="POST", **options)
            for prompt in verb.prompts:
                _write(gathered, line, prompt)
        case v.Redirect():
            into.redirect(line.at(verb.then), method="POST")
        case v.Dial():
            options = {"caller_id": verb.caller_id, "answer_on_bridge": True, "timeout": verb.seconds}
            options |= {"record": "record-from-answer-dual", **recorded} if verb.records else {}
            dialled = into.dial(action=line.at(verb.then), method="POST", **options)
            for rung in verb.rung:
                _ring(dialled, line, rung)
        case v.Join():
            dialled = into.dial(action=line.at(verb.then), method="POST")
            dialled.conference(
                verb.room,
                beep=False,
                start_conference_on_enter=True,
                end_conference_on_exit=verb.ends,
                status_callback=line.at(v.place("voice-conference")),
                status_callback_event="start end join leave",
            )
        case v.TakeFromQueue():
            options = {"record": "record-from-answer-dual", **recorded} if verb.records else {}
            into.dial(action=line.at(verb.then), method="POST", **options).queue(verb.queue)
        case v.Enqueue():
            meanwhile, then = line.at(verb.meanwhile), line.at(verb.then)
            into.enqueue(verb.queue, wait_url=meanwhile, wait_url_method="POST", action=then, method="POST")
        case v.Leave():
            into.leave()
        case v.Record():
            options = recorded | {"recording_status_callback": line.at(v.place("voice-recording", kind="voicemail"))}
            if verb.transcribes:
                options |= {"transcribe": True, "transcribe_callback": line.at(v.place("voice-transcription"))}
            then = line.at(verb.then)
            into.record(action=then, method="POST", max_length=verb.most_seconds, play_beep=True, timeout=5, **options)
        case v.Hangup():
            into.hangup()


def _ring(dialled: Any, line: Line, rung: v.Rung) -> None:
    options: dict[str, Any] = {
        "status_callback": line.at(v.place("voice-status", leg=rung.leg_id)),
        "status_callback_event": PROGRESS,
    }
    if rung.screen is not None:
        options |= {"url": line.at(rung.screen), "method": "POST"}
    if rung.detects_machines and line.provider == "twilio":
        heard = line.at(v.place("voice-amd", leg=rung.leg_id))
        options |= {"machine_detection": "Enable", "amd_status_callback": heard, "amd_status_callback_method": "POST"}
    dialled.number(rung.phone, **options)
