"""Headers of mails that leave: what other programs compare is written as it is."""

import pytest

from comms.mail import smtp
from comms.providers.mail_send import Headers
from tests.make.written_mail import LONG_IDS, lines_of, written


@pytest.mark.parametrize("answered", LONG_IDS)
def test_what_programs_compare_is_written_as_it_is_however_long(answered: str) -> None:
    ways = (f"https://comms.example/unsubscribe/{'a' * 300}", f"mailto:support+{'b' * 60}@acme.example?subject=x")
    mail = written(
        Headers(
            message_id=f"{'m' * 90}@acme.example",
            in_reply_to=answered,
            references=("a@example.com", *LONG_IDS),
            unsubscribe=ways,
        )
    )
    assert lines_of(mail, "Message-ID") == f"<{'m' * 90}@acme.example>"
    assert lines_of(mail, "In-Reply-To") == f"<{answered}>"
    assert lines_of(mail, "References") == " ".join(f"<{one}>" for one in ("a@example.com", *LONG_IDS))
    assert lines_of(mail, "List-Unsubscribe") == f"<{ways[0]}>, <{ways[1]}>"
    assert max(map(len, mail.split(b"\r\n"))) <= 998


def test_an_id_that_no_header_can_have_is_left_out_of_the_thread() -> None:
    mail = written(Headers(message_id="m@acme.example", in_reply_to="ä@x.example", references=("a@x.example", "ä@x")))
    assert lines_of(mail, "References") == "<a@x.example>"
    assert b"In-Reply-To" not in mail
    assert b"References" not in written(Headers(message_id="m@acme.example", references=("ä@x.example",)))


def test_a_letter_of_our_own_can_be_unsubscribed_from_however_long_its_link_is() -> None:
    ours = smtp.letter("comms@acme.example", "jane@example.com", "3 things wait", "Three things")
    ours["List-Unsubscribe"] = f"<https://comms.example/digests/stop/{'a' * 100}>"
    assert lines_of(ours.as_bytes(), "List-Unsubscribe") == f"<https://comms.example/digests/stop/{'a' * 100}>"
