"""A drawing of matplotlib's as a part of a page: inline SVG that is read in light and in dark."""

import io
import re
import warnings
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

# Colors in a drawing that the page sets: by name, in the light and in the dark scheme. The first of
# each is how matplotlib writes it, so whatever is drawn in another color stays as it is in both.
PAINTS = {
    "ink": ("#222222", "#222222", "#e8e8e8"),
    "soft": ("#555555", "#555555", "#b4b4b4"),
    "faint": ("#9a9a9a", "#8a8a8a", "#8c8c8c"),
    "line": ("#eeeeee", "#e6e6e6", "#343434"),
    "empty": ("#f0f0f0", "#ececec", "#3a3a3a"),
    "wrong": ("#a0322a", "#a0322a", "#f08a80"),
    "one": ("#1f77b4", "#1f77b4", "#5aaae6"),
    "two": ("#ff7f0e", "#d9650a", "#ff9a3d"),
    "three": ("#2ca02c", "#22882a", "#55c460"),
    "four": ("#d62728", "#c92a2a", "#f26d6d"),
    "five": ("#9467bd", "#8a58b5", "#b795e0"),
    "six": ("#8c564b", "#8c564b", "#c2948a"),
    "seven": ("#e377c2", "#c9509f", "#ee93d2"),
}
# What XML and HTML hold no sign for: a name may have any.
UNTOLD = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010fffd]")
PIXELS = 16  # of a page's usual text, in which a drawing's size is told
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it is found, copied, and in the page's own font
    "svg.hashsalt": "fkd",  # the same drawing has the same names each time
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
}


def inline(figure: Figure, name: str, title: str) -> Markup:
    """The drawing as an `<svg>` element, whose names begin with `name`, for a page holds each once.

    `title` is what is said where the drawing is not seen. Colors of `PAINTS` are the page's own
    variables, the ground is the page's, and nothing is loaded from elsewhere. It is to be called
    with the settings of `STYLE`.
    """
    file = io.StringIO()
    nothing = {key: None for key in ("Date", "Creator", "Format", "Type")}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of letters that the font has not
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(readable(file.getvalue()))
    _plain(root)
    _rename(root, name)
    width = float(root.attrib["width"].removesuffix("pt")) / PIXELS
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{name}-title",
        "style": f"width: {1.25 * width:.2f}rem; max-width: max(100%, {0.95 * width:.2f}rem)",
    }
    label = ElementTree.Element("title", id=f"{name}-title")
    label.text = readable(title)
    root.insert(0, label)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def readable(text: str) -> str:
    """The text with a sign in place of each that a page cannot hold.

    >>> readable("a\\0b")
    'a\ufffdb'
    """
    return UNTOLD.sub("\ufffd", text)


def _plain(root: ElementTree.Element) -> None:
    """Take away what inline SVG has no need of, and give the page its colors."""
    for parent in root.iter():
        parent.tag = parent.tag.partition("}")[2]
        for style in [child for child in parent if child.tag.endswith("}style")]:
            parent.remove(style)  # of all that is on the page, where the page has its own
        parent.attrib = {key.partition("}")[2] or key: v for key, v in parent.attrib.items()}
        if "style" in parent.attrib:
            parent.attrib["style"] = _painted(parent.attrib["style"])


def _painted(style: str) -> str:
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    for name, (drawn, _, _) in PAINTS.items():
        style = style.replace(drawn, f"var(--{name})")
    return style


def _rename(root: ElementTree.Element, name: str) -> None:
    """Begin each name that is referred to with the drawing's, and take the others away."""
    referred = re.compile(r"url\(#([^)]*)\)|^#(.*)$")
    used = {
        match[1] or match[2]
        for element in root.iter()
        for value in element.attrib.values()
        for match in referred.finditer(value)
    }
    for element in root.iter():
        own = element.attrib.pop("id", None)
        for key, value in element.attrib.items():
            element.attrib[key] = re.sub(r"(url\(#|^#)(?=.)", rf"\1{name}-", value)
        if own in used:
            element.attrib["id"] = f"{name}-{own}"
