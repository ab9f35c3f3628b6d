"""What counts as a word about hearing from us, and what people say all day."""

import pytest

from comms.consent.keywords import said_in

KEYWORDS = {
    "stop": [
        "STOP",
        "stop",
        "Stop",
        "UNSUBSCRIBE",
        "END",
        "QUIT",
        "STOPALL",
        "REVOKE",
        "OPTOUT",
        "CANCEL",
        "ARRET",
        "cancel",
    ],
    "start": ["START", "YES", "UNSTOP", "yes"],
    "help": ["HELP", "INFO", "help"],
}


@pytest.mark.parametrize(("says", "word"), [(says, word) for says, words in KEYWORDS.items() for word in words])
def test_a_keyword_is_one_in_any_case_and_between_spaces(says: str, word: str) -> None:
    for text in (word, f" {word}\r\n"):
        said = said_in(text, {})
        assert said is not None
        assert (said.says, said.exactly, said.plainly, said.words) == (says, True, False, word.upper())


@pytest.mark.parametrize("text", ["Stop.", "STOP!", "“Stop”", "stop all", "Opt-out", "opt out", "(STOP)", "Arrêt"])
def test_a_keyword_that_the_provider_does_not_understand_is_one_too(text: str) -> None:
    said = said_in(text, {})
    assert said is not None
    assert (said.says, said.exactly, said.plainly) == ("stop", False, False)


@pytest.mark.parametrize(("kind", "says"), [("STOP", "stop"), ("START", "start"), ("HELP", "help")])
def test_what_the_provider_has_understood_comes_first(kind: str, says: str) -> None:
    said = said_in("basta", {"optOutType": kind})
    assert said is not None
    assert (said.says, said.words, said.by_provider) == (says, "basta", True)


PLAIN = """
please stop texting me|Stop texting me|STOP PLEASE|pls stop|stop it|Quit messaging us|stop sending me these messages
Do not text me again|don't contact me|dont call me anymore|Don’t text this number
remove me from your list|unsubscribe me
take me off your list please|please remove me|how do I unsubscribe?|I want to opt out|opt me out|no more texts please
lose my number|leave me alone|I revoke my consent|stop spamming|stop the texts|Can you stop sending emails
Please cease contacting me|stop all messages|Stop bothering me!|Never text me again|you need to stop calling me
STOP!!! NO MORE MESSAGES
"""
ORDINARY = """
Don't stop texting me, I love it|I'll stop by at 3|bus stop|Can you stop by and text me|the pain won't stop
stop at the office, then call me|Please don't call me before 9|can't stop laughing|We should end the meeting
get me off at 5|what options are there|I'd opt for the blue one|end of story|never mind|no more than 3 people
did you delete the file|Is the 3pm slot still open?|How do I stop the recording?|take me to the airport|non-stop flight
don't text me back until I'm home|remove the old sink please|Please stop the delivery to the old address|quit my job
forget it|I have an appointment, cancel it|yes please|Yes!|can you help me?|info please|I need help|CANCEL.|Help?
Cancel my appointment on Friday|did they stop your messages?|stop by, text me when near|please stop my order||🙂
"""


def listed(texts: str) -> list[str]:
    return [text for line in texts.strip("\n").splitlines() for text in line.split("|")]


@pytest.mark.parametrize("text", listed(PLAIN))
def test_plain_words_are_noticed_and_left_to_a_person(text: str) -> None:
    said = said_in(text, {})
    assert said is not None
    assert (said.says, said.plainly) == ("stop", True)
    assert said.words in text


@pytest.mark.parametrize("text", listed(ORDINARY))
def test_what_people_say_all_day_is_nothing(text: str) -> None:
    assert said_in(text, {}) is None


def test_a_letter_that_grows_in_lower_case_is_no_trouble() -> None:
    said = said_in("İ stop texting me", {})
    assert said is not None
    assert said.words == "stop texting me"


def test_a_long_letter_is_not_searched() -> None:
    assert said_in("word " * 100 + "stop texting me", {}) is None
