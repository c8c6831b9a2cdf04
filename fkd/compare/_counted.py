"""How many there are of a thing, and how large it is, in words that agree with the number."""

ES = ("ss", "sh", "tch")  # endings of a noun that takes -es; epoch is none


def counted(number: float, noun: str) -> str:
    """So many of what `noun` names, which is given for one.

    >>> counted(1, "seed"), counted(0, "epoch"), counted(1182882, "parameter")
    ('1 seed', '0 epochs', '1,182,882 parameters')
    >>> counted(10, "class"), counted(1.0, "point"), counted(0.5, "point")
    ('10 classes', '1 point', '0.5 points')
    """
    told = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    if number == 1:
        return f"{told} {noun}"
    return f"{told} {noun}{'es' if noun.endswith(ES) else 's'}"


def singular(unit: str) -> str:
    """What one of a data set's examples is called.

    >>> singular("test images")
    'test image'
    """
    return unit.removesuffix("s")


def gib(size: float) -> str:
    """Bytes in GiB, to three figures.

    >>> gib(3 * 2**29), gib(2**20)
    ('1.5 GiB', '0.000977 GiB')
    """
    return f"{size / 2**30:.3g} GiB"
