"""What a run asked, in words."""

from fkd.compare._numbers import percent
from fkd.compare.results import Results


def title(results: Results) -> str:
    """`digits: 4 methods, 8 seeds, 10 epochs`."""
    name, _, rest = results.summary.partition(",")
    count = len(results.methods) + len(results.failed)
    return f"{name}: {count} method{'s' * (count != 1)},{rest}"


def question(results: Results) -> list[str]:
    """The question and how it was put, in sentences."""
    return [_which(results), _students(results), *_stages(results), *_swept(results)]


def _which(results: Results) -> str:
    names = [" ".join(name.split()) for name in (*results.methods, *results.failed)]
    base, data = " ".join(results.baseline.split()), results.data.name
    others = [name for name in names if name != base]
    if not others or base not in names:
        return f"How accurate is {', '.join(names) or 'a student'} on {data}?"
    if len(others) == 1:
        return f"Is {others[0]} above {base} on {data}, and by how much?"
    return f"Which of {', '.join(others[:-1])} and {others[-1]} is above {base} on {data}, and by how much?"


def _students(results: Results) -> str:
    config, data, teacher = results.config, results.data, results.teacher
    many = f"{results.seeds} students of each method" if results.seeds != 1 else "One student of each method"
    accuracy = f", {percent(teacher.accuracy)} % right on the test set" if teacher else ""
    order = "in the same order" if config.get("order", "shared") == "shared" else "in its seed's own order"
    return (
        f"{many} ({_network(results, 'student')}) learned from one teacher "
        f"({_network(results, 'teacher')}{accuracy}) on {data.train:,} training {data.unit}, and "
        f"were tested on {data.test:,} others, of {data.classes:,} classes, after "
        f"{config['epochs']} epochs. Students of one seed began with the same weights, whatever the "
        f"method, and read batches {order}."
    )


def _network(results: Results, role: str) -> str:
    name = results.config.get(f"{role}_model") or results.networks.get(role)
    count = results.parameters.get(role)
    told = [name] if name else []
    return ", ".join([*told, *([f"{count:,} parameters"] if count is not None else [])]) or role


def _stages(results: Results) -> list[str]:
    width, most = results.config.get("resolution"), results.config.get("max_seeds")
    if results.pilot is None:
        return []
    asked = "" if width is None else f" as let every difference be known to ± {width:g} points"
    bound = "" if most is None else f", {most} at most"
    return [f"The first {results.pilot} seeds were a pilot, and so many were added{asked}{bound}."]


def _swept(results: Results) -> list[str]:
    if not results.config.get("sweep"):
        return []
    return [
        f"The setting of each method was chosen on {results.data.validation:,} validation "
        f"{results.data.unit}, and the test set was read once, at the end."
    ]
