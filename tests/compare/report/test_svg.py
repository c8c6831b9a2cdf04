"""A drawing in a page: names of its own, colors of the page's, nothing from elsewhere."""

from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from fkd.compare.report import _svg


def drawn(name: str) -> ElementTree.Element:
    with matplotlib.rc_context(_svg.STYLE):
        figure = Figure(figsize=(4, 2))
        axes = figure.subplots()
        axes.plot([1, 2], [1, 2], color=_svg.PAINTS["one"][0], marker="o")
        axes.fill_between([1, 2], [0, 1], [1, 2], color="#123456")
        axes.set_title("a <b> & \x01")
        return ElementTree.fromstring(_svg.inline(figure, name, "what it <shows>"))


def test_the_page_gives_the_colors_that_it_knows():
    text = ElementTree.tostring(drawn("a"), encoding="unicode")
    assert "var(--one)" in text and "var(--ink)" in text and "#123456" in text
    assert not [paint for paint, _, _ in _svg.PAINTS.values() if paint in text]


def test_names_are_the_drawings_own_and_each_is_referred_to():
    first, second = ({e.get("id") for e in drawn(n).iter()} - {None} for n in ("a", "b"))
    assert first and not first & second
    text = ElementTree.tostring(drawn("a"), encoding="unicode")
    for own in first:
        assert f'"#{own}"' in text or f"url(#{own})" in text or own == "a-title"


def test_it_is_told_in_words_and_loads_nothing():
    root = drawn("a")
    title = root[0]
    assert (title.tag, title.text) == ("title", "what it <shows>")
    assert root.get("role") == "img" and root.get("aria-labelledby") == title.get("id")
    text = ElementTree.tostring(root, encoding="unicode")
    assert "http" not in text and "<style" not in text and "font-family" not in text
    assert "a &lt;b&gt; &amp; \ufffd" in text  # as text, which can be found
    assert root.get("viewBox") == "0 0 288 144"  # 72 units an inch


def test_the_same_drawing_is_the_same():
    assert ElementTree.tostring(drawn("a")) == ElementTree.tostring(drawn("a"))
