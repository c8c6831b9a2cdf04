"""A page of HTML as a reader of it sees it: refused where it is not well formed."""

from html.parser import HTMLParser
from itertools import pairwise

# The elements that have no end, of HTML 5.
VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
REFERS = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")


class Page(HTMLParser):
    """The elements with their attributes, the headings, and the text outside of the style."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.rows: list[list[str]] = []
        self.text, self.style = "", ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} has an attribute twice: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag in HEADINGS:
            self.headings.append((int(tag[1]), ""))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is for SVG"
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> ends {self.open}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.style += data
            return
        self.text += data
        if self.open and self.open[-1] in HEADINGS:
            level, text = self.headings[-1]
            self.headings[-1] = level, text + data
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data.strip("\n")

    def values(self, name: str) -> list[str]:
        """What an attribute is, wherever it is given."""
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]

    def row(self, head: str) -> list[str]:
        """The first row of that head."""
        return next(row for row in self.rows if row and row[0] == head)


def check(text: str) -> Page:
    """The page, held against what any report must be."""
    assert text.startswith("<!DOCTYPE html>\n")
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert page.elements[0] == ("html", {"lang": "en"})
    assert tags.count("title") > 0 and tags.count("main") == tags.count("h1") == 1
    ids = page.values("id")
    assert len(set(ids)) == len(ids), "each id once"
    # Nothing is run, and nothing is loaded: what is referred to is in the page.
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(tags)
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")], f"{tag} listens"
        for name in REFERS:
            where = attrs.get(name) or "#"
            assert where.startswith("data:image/png;") or where == "#" or where[1:] in ids
        if tag == "img":
            assert attrs.get("alt")
        if tag == "svg":
            assert attrs["role"] == "img" and attrs["aria-labelledby"] in ids
        if tag == "th":
            assert attrs.get("scope") in ("col", "row")
        for value in attrs.values():
            assert "url(" not in (value or "").replace("url(#", "")
    for word in ("url(", "@import", "@font-face", "//"):
        assert word not in page.style
    for label in page.values("aria-labelledby"):
        assert label in ids
    assert tags.count("table") == tags.count("caption")
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    return page
