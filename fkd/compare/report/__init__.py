"""A report that can be sent: what runs asked, what may be concluded, and all that this rests on.

It is one file, which loads nothing from elsewhere and needs no script:

    from fkd.compare import Results, report
    report.write("report.html", {"digits": Results.read("runs/digits")})

A run is a comparison, or what a factorial or several teachers told (`Variance`, `Teachers`).
`python -m fkd.compare report RUN [RUN ...]` is the command line.
"""

from fkd.compare.report._file import write
from fkd.compare.report._page import page

__all__ = ["page", "write"]
