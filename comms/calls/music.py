"""What is heard in a queue that has no music of its own: slow chords, made here, so that nobody else's are needed."""

import io
import math
import wave
from array import array
from functools import cache

RATE = 8_000  # what a telephone carries
BAR_SECONDS = 3
_CHORDS = ((261.63, 329.63, 392.00), (220.00, 261.63, 329.63), (174.61, 220.00, 261.63), (196.00, 246.94, 293.66))
_LOUDNESS = 3_000  # of 32,767: to be spoken over


@cache
def hold() -> bytes:
    """Twelve seconds as a WAV file, 16 bits, one channel; made once."""
    samples = array("h", (sample for chord in _CHORDS for sample in _bar(chord)))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _bar(chord: tuple[float, ...]) -> list[int]:
    """One note after the other, each fading, and silent at the end: the next bar begins without a click."""
    length = BAR_SECONDS * RATE
    bar = [0.0] * length
    for place, pitch in enumerate(chord):
        begin = place * RATE // 2
        for at in range(length - begin):
            seconds = at / RATE
            envelope = min(1.0, seconds * 50) * math.exp(-seconds * 1.2) * (1 - at / (length - begin))
            bar[begin + at] += math.sin(2 * math.pi * pitch * seconds) * envelope
    return [round(sample * _LOUDNESS) for sample in bar]
