"""The teacher that is given by a file: a network's state_dict, or one student of a run."""

from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import checkpoint
from fkd.compare._command.options import Config
from fkd.compare._counted import counted
from fkd.export import Build, member_state_dict
from fkd.model import functional


def given_teacher(config: Config, build: Build, classes: int) -> dict[str, Tensor] | None:
    """The state_dict that `--teacher` gives the network, or None where it is trained here.

    Raises ValueError for a file that is none, or of another network.
    """
    path, member = config.teacher_file, config.teacher_member
    if path is None:
        return None
    try:
        students = checkpoint.about(path).get("seeds", [])
        if students and member is None:
            raise ValueError(
                f"checkpoint {path}: it holds {counted(len(students), 'student')} of a run; choose "
                "one by --teacher-member, from 0 on"
            )
        if member is None:
            return checkpoint.load(path, like=build().state_dict())
        params, buffers = functional(build).init(0)
        like = tree_map(lambda leaf: leaf.unsqueeze(0), params | buffers)
        one = checkpoint.load_members(path, like, [member])
        return member_state_dict(
            build,
            {name: one[name] for name in params},
            {name: one[name] for name in buffers},
            member=0,
        )
    except ValueError as error:
        raise ValueError(
            f"--teacher: {error}\nit must be the state of --teacher-model "
            f"{config.teacher_model} for {classes} classes"
        ) from error
