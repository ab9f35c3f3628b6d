"""What is read from mails of every sort: the golden webhooks, and what nobody should send."""

import io
import time
from typing import Any

import pytest

from comms.mail import markup, mime, quotes, reading, texts
from comms.mail.letters import Letter
from comms.providers.base import Unreadable
from comms.providers.parse_form import Proofs, aligned
from tests.comms.providers import golden

JANE = "jane@example.com"
PARSED = [name for name in golden.names("sendgrid") if name.startswith("parse_")]

STORIES: dict[str, dict[str, Any]] = {
    "parse_attachments": {"said": "see attached", "files": ["pïxel.png", "passwd"], "is_verified": True},
    "parse_auto_reply": {"said": "I am out of office", "automatic": "auto_reply"},
    "parse_bcc_no_header_match": {"said": "blind", "to": (), "to_us": "support+c-42@inbound.hooks.example.com"},
    "parse_charset_sjis": {"said": "こんにちは"},
    "parse_empty_text_html_only": {"said": "hi", "html": "<p>hi</p>"},
    "parse_no_charsets_field": {"said": "hi"},
    "parse_nul_in_text": {"said": "ab", "html": "<p>ab</p>"},
    "parse_null_sender_bounce": {"automatic": "bounce", "sender": "MAILER-DAEMON@example.com"},
    "parse_plus_address": {"to_us": "reply+3f9c2a.c-42@inbound.hooks.example.com", "cc": ("carol@example.org",)},
    "parse_sample_default_data": {"said": "Hello Twilio SendGrid!", "sender": "test@example.com"},
    "parse_sample_raw_data": {"said": "Hello Twilio SendGrid!", "subject": "Testing with Request.bin"},
    "parse_sample_raw_data_with_attachments": {"said": "Hello Twilio SendGrid!", "files": ["SendGrid.jpg"]},
    "parse_spf_dkim_none": {"is_verified": False},
    "parse_spoofed_sender": {"is_verified": False, "sender": "ceo@hooks.example.com"},
    "parse_text": {"said": "Yes please.", "in_reply_to": "c-42.17@mail.hooks.example.com", "is_verified": True},
}


def letter(body: bytes, content_type: str = "multipart/form-data; boundary=xYzZY") -> Letter:
    return reading.letter(io.BytesIO(body), len(body), content_type)


def form(**fields: bytes) -> bytes:
    parts = [
        b'--xYzZY\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in {"envelope": b'{"to":["us@x.example"],"from":"jane@example.com"}', **fields}.items()
    ]
    return b"".join(parts) + b"--xYzZY--\r\n"


def raw(text: str, **more: bytes) -> Letter:
    return letter(form(email=text.replace("\n", "\r\n").encode("utf-8", "surrogateescape"), **more))


@pytest.mark.parametrize("kind", PARSED)
def test_a_golden_mail_is_read_into_its_story(kind: str) -> None:
    request = golden.request(golden.fixture("sendgrid", kind))
    read = letter(request.body, request.headers["content-type"])
    for name, expected in STORIES[kind].items():
        match name:
            case "files":
                assert [file.name for file in read.files] == expected
            case "sender":
                assert read.sender.address == expected
            case "to_us":
                assert read.envelope.recipients == (expected,)
            case _:
                assert getattr(read, name) == expected, name


def test_an_attachment_is_found_where_it_lies_in_both_modes() -> None:
    request = golden.request(golden.fixture("sendgrid", "parse_attachments"))
    picture, text = letter(request.body, request.headers["content-type"]).files
    assert request.body[picture.start :][: picture.length].startswith(b"\x89PNG")
    assert request.body[text.start :][: text.length] == b"hello"
    assert (picture.content_id, picture.encoding) == ("ii_abc", "")
    request = golden.request(golden.fixture("sendgrid", "parse_sample_raw_data_with_attachments"))
    (photo,) = letter(request.body, request.headers["content-type"]).files
    assert photo.encoding == "base64"
    content = b"".join(
        mime.decode(
            "base64", [request.body[photo.start :][: photo.length][i : i + 7] for i in range(0, photo.length, 7)]
        )
    )
    assert content.startswith(b"\xff\xd8\xff")
    assert content.endswith(b"\xff\xd9")


BROKEN = {
    "no last boundary": "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nHello",
    "no boundary at all": "Content-Type: multipart/mixed\n\nHello",
    "a boundary that is nowhere": "Content-Type: multipart/mixed; boundary=nowhere\n\nHello",
    "no headers": "\n\nHello",
    "an unknown encoding": "Content-Transfer-Encoding: rot13\n\nHello",
    "an unknown charset": "Content-Type: text/plain; charset=klingon\n\nHello",
    "a charset that is not its own": "Content-Type: text/plain; charset=ascii\n\nHello",
    "bad base64": "Content-Transfer-Encoding: base64\n\nSGVs*bG8",
    "headers beyond all sense": "Subject" + ": " * 5000 + "\nContent-Type: text/plain\n\nHello",
    "bare quoted-printable": "Content-Transfer-Encoding: quoted-printable\n\nHel=6Co=",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_broken_mail_is_read_as_far_as_it_goes(text: str) -> None:
    assert raw(text).said == "Hello"


def test_parts_within_parts_are_bounded() -> None:
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000))
    assert raw(nested + "\nHello").files is not None
    many = "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\nContent-Type: image/png\n\nx\n" * 20_000 + "--b--"
    assert len(raw(many).files) <= reading.MOST_FILES


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", form().replace(b"envelope", b"envelop"), form(envelope=b"[]"), form(envelope=b'{"to": 1}')],
)
def test_what_is_no_mail_is_said_to_be_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        letter(body)
    with pytest.raises(Unreadable):
        letter(form(), "application/json")


def test_hostile_names_and_subjects_become_harmless_lines() -> None:
    read = raw(
        "Subject: =?utf-8?b?QQ0KQmNjOiBldmlsQGV4YW1wbGUuY29tAEI=?=\n"
        "From: =?utf-8?q?=E2=80=AEevil=2C_=3Cceo=40x=2Eexample=3E?= <jane@example.com>\n"
        'Content-Type: application/pdf; name="..\\\\..\\\\con\x01fig.exe"\n\nx'
    )
    assert read.subject == "A Bcc: evil@example.comB"
    assert (read.sender.address, read.sender.name) == (JANE, "evil, <ceo@x.example>")
    assert read.files[0].name == "config.exe"


def test_two_senders_are_none_that_is_proven() -> None:
    read = letter(
        form(**{"from": b"jane@example.com, bob@example.com", "dkim": b"{@example.com : pass}", "SPF": b"pass"})
    )
    assert not read.is_verified
    # Which of two From headers was signed, nobody knows.
    proven = {"dkim": b"{@example.com : pass}", "SPF": b"pass", "from": b"jane@example.com"}
    assert raw("From: jane@example.com\n\nHello", **proven).is_verified
    assert not raw("From: jane@example.com\nFrom: boss@example.com\n\nHello", **proven).is_verified


@pytest.mark.parametrize(
    ("domain", "proven", "holds"),
    [
        ("example.com", "example.com", True),
        ("example.com", "mail.example.com", True),
        ("news.example.com", "example.com", True),
        ("example.com", "example.com.attacker.test", False),
        ("example.com", "notexample.com", False),
        ("example.com", "com", False),
        ("example.com", "", False),
    ],
)
def test_domains_align_when_one_lies_below_the_other(domain: str, proven: str, holds: bool) -> None:
    assert aligned(domain, proven) is holds


def test_several_signatures_are_all_looked_at() -> None:
    proofs = Proofs(dkim="{@sendgrid.net : pass, @example.com : fail, @mail.example.org : pass}")
    assert proofs.speak_for("bob@example.org")
    assert not proofs.speak_for(JANE)


REPEATED = "From: Acme <support@x.example>\nSent: Thursday\nTo: Jane\nSubject: Booking\n\nIs 3pm fine?"
QUOTED = {
    "gmail": (
        "Sounds good.\n\nOn Thu, Nov 21, 2024 at 9:00 AM Acme Support <\nsupport@x.example> wrote:\n\n"
        "> Is 3pm fine?\n>\n> --\n> Acme"
    ),
    "apple": "Sounds good.\n\n> On 21 Nov 2024, at 09:00, Acme <support@x.example> wrote:\n> \n> Is 3pm fine?",
    "outlook": "Sounds good.\n\n________________________________\n" + REPEATED,
    "outlook desktop": "Sounds good.\n\n" + REPEATED,
    "outlook german": (
        "Sounds good.\n\n-----Ursprüngliche Nachricht-----\nVon: Acme\nGesendet: Donnerstag\n\nIs 3pm fine?"
    ),
    "thunderbird german": "Sounds good.\n\nAm 21.11.24 um 09:00 schrieb Acme Support:\n> Is 3pm fine?",
    "marked only": "Sounds good.\n\n> Is 3pm fine?",
}


@pytest.mark.parametrize("text", QUOTED.values(), ids=QUOTED)
def test_what_is_quoted_is_separated_and_kept(text: str) -> None:
    said, quoted = quotes.separated(text)
    assert said == "Sounds good."
    assert quoted is not None
    assert "Is 3pm fine?" in quoted


@pytest.mark.parametrize(
    "text",
    [
        "> Is 3pm fine?\nYes.\n> And four of us?\nYes.",
        "From: here to there\nit is far.",
        "> all of it quoted",
        "On Monday I wrote: see you then. Does that hold?",
    ],
)
def test_who_answers_between_the_lines_keeps_them(text: str) -> None:
    assert quotes.separated(text) == (text, None)


HOSTILE = {
    "script": ("<p>a</p><script>alert(1)</script>", "<p>a</p>"),
    "handler": ('<p onclick="x()">a</p>', "<p>a</p>"),
    "javascript": ('<a href="javascript:x()">a</a>', '<a rel="noopener noreferrer nofollow">a</a>'),
    "data page": ('<a href="data:text/html,x">a</a>', '<a rel="noopener noreferrer nofollow">a</a>'),
    "frame": ('<iframe src="https://x.example"></iframe>a', "a"),
    "form": ('<form action="https://x.example"><input name=p>a</form>', "a"),
    "style sheet": ("<style>p{background:url(https://x.example)}</style><p>a</p>", "<p>a</p>"),
    "style": ('<p style="color:red;background:url(https://x.example)">a</p>', "<p>a</p>"),
    "escaped style": ('<p style="color:red;background-color:\\75rl(https://x.example)">a</p>', "<p>a</p>"),
    "svg": ('<svg onload="x()"><image href="https://x.example"/></svg>a', "a"),
    "source set": ('<img srcset="https://x.example 1x" alt="a">', '<img alt="a">'),
    "background": (
        '<table background="https://x.example"><tr><td>a',
        "<table><tbody><tr><td>a</td></tr></tbody></table>",
    ),
}


@pytest.mark.parametrize(("html", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_html_from_strangers_does_nothing_and_loads_nothing(html: str, shown: str) -> None:
    assert markup.cleaned(html).html == shown


def test_remote_images_are_blocked_and_known_and_inline_ones_stay() -> None:
    shown = markup.cleaned('<img src="https://x.example/pixel.gif"><img src="cid:ii_1"><img src="//x.example/p.gif">')
    assert shown.html == '<img src="blocked:https://x.example/pixel.gif"><img src="cid:ii_1"><img>'
    assert shown.has_remote_images


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000,
        "".join(f"<font color={n}>" for n in range(20_000)),
        "<p " + " ".join(f"a{n}=1" for n in range(100_000)) + ">",
        "<" * 500_000,
        "a" * 600_000,
    ],
)
def test_html_made_to_take_minutes_takes_none(html: str) -> None:
    began = time.process_time()
    markup.text_of(html)
    markup.cleaned(html)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("text", ["> a\nx\n" * 20_000, "On a b c d e wrote\n" * 20_000, "On " * 150_000, "_" * 500_000])
def test_quotes_made_to_take_minutes_take_none(text: str) -> None:
    began = time.process_time()
    quotes.separated(text)
    assert time.process_time() - began < 1


def test_a_charset_that_lies_is_found_out() -> None:
    assert texts.decode("Grüße".encode(), "ascii") == "Grüße"
    assert texts.decode("Grüße".encode("cp1252"), "utf-8") == "Grüße"
    assert texts.decode(b"a\x00\x07b\r\nc", None) == "ab\nc"


@pytest.mark.parametrize("charset", ["punycode", "PUNYCODE", "idna", "unicode_escape", "raw-unicode-escape", "rot13"])
def test_what_is_no_charset_of_mails_is_as_one_that_is_unknown(charset: str) -> None:
    began = time.process_time()
    body = "-" + "aaab" * 130_000
    assert raw(f"Content-Type: text/plain; charset={charset}\n\n{body}").said == body
    assert raw(f"Content-Type: text/plain; charset={charset}\n\nHello \\u0041").said == "Hello \\u0041"
    # Nor does the standard library decode a parameter by it.
    lie = f"*={charset}''{body[:200_000]}"
    assert raw(f"Content-Type: text/plain; charset{lie}\n\nHello").said == "Hello"
    assert raw(f"Content-Type: multipart/mixed; boundary{lie}\n\nHello").said == "Hello"
    assert raw(f"Content-Type: image/png; name{lie}\n\nx").files
    assert time.process_time() - began < 2


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"iso-8859-1"', "windows-1252", "utf-7", "latin1"])
def test_a_charset_of_mails_is_decoded_by(charset: str) -> None:
    content = "Grüße".encode(charset.strip('"'))
    assert texts.decode(content, charset) == "Grüße"


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_mail_is_cut_as_a_whole_and_not_each_of_its_parts(kind: str) -> None:
    part = f"--b\nContent-Type: text/{kind}\n\n" + "word " * 100_000 + "\n"
    read = raw("Content-Type: multipart/mixed; boundary=b\n\n" + part * 10 + "--b--\n")
    assert read.is_cut
    assert 400_000 < len(read.said) <= reading.MOST_TEXT_BYTES + 100
    one = raw("Content-Type: multipart/mixed; boundary=b\n\n" + part + "--b--\n")
    assert (one.is_cut, len(one.said)) == (False, 499_999)
