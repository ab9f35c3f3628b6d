"""HTML from strangers: only what is harmless stays, and nothing is loaded from elsewhere unless somebody asks."""

import re
from html.parser import HTMLParser

import msgspec
import nh3

MOST_CHARACTERS = 512 * 1024
BLOCKED = "blocked:"
"""Stands before the address of a remote image; to show it, take it away."""

_DEEPEST = 500
_MOST_TAGS = 50_000
_LONGEST_TAG = 2_000  # without its quoted values: the parser compares each attribute with all before it


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TAGS = _names(
    "a abbr b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt em font h1 h2 h3 "
    "h4 h5 h6 hr i img ins kbd li ol p pre q s samp small span strike strong sub sup table tbody td tfoot th thead "
    "tr tt u ul var wbr"
)
_ATTRIBUTES = {
    "*": {"align", "dir", "lang", "style", "title", "valign"},
    "a": {"href", "name"},
    "blockquote": {"type"},
    "col": {"span", "width"},
    "colgroup": {"span", "width"},
    "font": {"color", "face", "size"},
    "hr": {"size", "width"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start", "type"},
    "table": {"bgcolor", "border", "cellpadding", "cellspacing", "height", "width"},
    "td": {"bgcolor", "colspan", "height", "rowspan", "width"},
    "th": {"bgcolor", "colspan", "height", "rowspan", "width"},
    "tr": {"bgcolor", "height"},
}
# None of them can name an address.
_STYLES = _names(
    "background-color border border-bottom border-collapse border-color border-left border-radius border-right "
    "border-spacing border-style border-top border-width color direction display font-family font-size font-style "
    "font-weight height letter-spacing line-height margin margin-bottom margin-left margin-right margin-top "
    "max-width min-width padding padding-bottom padding-left padding-right padding-top table-layout text-align "
    "text-decoration text-indent text-transform vertical-align white-space width word-break word-wrap"
)
_NAMES_AN_ADDRESS = re.compile(r"url\s*\(|image-set|expression|@import|\\", re.IGNORECASE)
_SCHEMES = {"http", "https", "mailto", "tel", "cid", "data"}
_PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,", re.IGNORECASE)


class Cleaned(msgspec.Struct, frozen=True):
    """HTML that may be shown; None where it was too large or too tangled to be made so."""

    html: str | None
    has_remote_images: bool = False


def cleaned(html: str, *, load_remote: bool = False) -> Cleaned:
    """The harmless part of ``html``: no scripts, forms, frames or styles from elsewhere, remote images blocked.

    Unless it is our own, and they are meant: ``load_remote``.
    """
    if len(html) > MOST_CHARACTERS or _is_tangled(html):
        return Cleaned(None)
    remote = False

    def kept(tag: str, attribute: str, value: str) -> str | None:
        nonlocal remote
        value = value.strip()
        if attribute == "src":
            scheme = value.partition(":")[0].lower()
            if scheme == "cid" or _PICTURE.match(value):
                return value
            if scheme in ("http", "https"):
                remote = True
                return value if load_remote else BLOCKED + value
            return None
        if attribute == "href" and value.lower().startswith(("data:", "cid:")):
            return None
        if attribute == "style" and _NAMES_AN_ADDRESS.search(value):
            return None
        return value

    html = nh3.clean(
        html,
        tags=set(TAGS),
        clean_content_tags={"script", "style", "title", "noscript", "template", "textarea", "select", "svg", "math"},
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        attribute_filter=kept,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        filter_style_properties=set(_STYLES),
    )
    return Cleaned(html.strip(), remote)


_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_VOID = _names("area base br col embed hr img input link meta param source track wbr p li dd dt option tr td th")


def _is_tangled(html: str) -> bool:
    """Whether a parser would take minutes: tags open within each other by the thousand, or attributes without end."""
    if html.count("<") > _MOST_TAGS:
        return True
    depth: dict[str, int] = {}
    total = 0
    for piece in html.split("<")[1:]:
        end = piece.find(">")
        tag = piece if end < 0 else piece[:end]
        if len(tag) > _LONGEST_TAG and len(_QUOTED.sub("''", tag)) > _LONGEST_TAG:
            return True
        closes = tag[:1] == "/"
        name = re.split(r"[\s/]", tag[closes:], maxsplit=1)[0].lower()
        if not name[:1].isalpha() or name in _VOID or tag.endswith("/"):
            continue
        open_ones = depth.get(name, 0)
        if closes and not open_ones:
            continue
        depth[name] = open_ones + (-1 if closes else 1)
        total += -1 if closes else 1
        if total > _DEEPEST:
            return True
    return False


def text_of(html: str) -> str:
    """What one reads of ``html``: lines where it has blocks, quotes marked by ``>`` as in a plain mail."""
    shown = cleaned(html).html
    if shown is None:
        return re.sub(r"\n{3,}", "\n\n", re.sub(r"<[^<>]{0,2000}>", "", html[:MOST_CHARACTERS])).strip()
    reader = _Reader()
    reader.feed(shown)
    reader.close()
    return reader.text()


_BLOCKS = _names("blockquote caption center dd div dl dt h1 h2 h3 h4 h5 h6 hr ol p pre table tr ul")


class _Reader(HTMLParser):
    """Reads HTML that has been cleaned, and so is well-formed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[tuple[int, str]] = []
        self._line = ""
        self._quotes = 0
        self._preformatted = 0
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._end_line(blank=True)
        elif tag == "li":
            self._end_line()
            self._line = "- "
        elif tag in ("td", "th") and self._line.strip():
            self._line += "  "
        elif tag in _BLOCKS:
            self._end_line()
        if tag == "blockquote":
            self._quotes += 1
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "p" and self._lines and self._lines[-1][1]:
            self._lines.append((self._quotes, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS or tag == "li":
            self._end_line()
        if tag == "blockquote":
            self._quotes = max(0, self._quotes - 1)
        elif tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        elif tag == "p" and self._lines and self._lines[-1][1]:
            self._lines.append((self._quotes, ""))

    def handle_data(self, data: str) -> None:
        if self._preformatted:
            first, *rest = data.split("\n")
            self._line += first
            for line in rest:
                self._end_line(blank=True)
                self._line = line
            return
        text = re.sub(r"[ \t\n\r\f]+", " ", data)
        self._line += text.lstrip() if not self._line or self._line.endswith(" ") else text

    def _end_line(self, *, blank: bool = False) -> None:
        text = self._line.rstrip().replace("\xa0", " ")
        if text.strip() or blank:
            self._lines.append((self._quotes, text))
        self._line = ""

    def text(self) -> str:
        """All that was read."""
        self._end_line()
        lines = [("> " * min(quotes, 20) + line).rstrip() for quotes, line in self._lines]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
