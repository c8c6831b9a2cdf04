"""Tensors to a file and back, whole or not at all, each under a checksum of its own.

A file is written in safetensors, which runs nothing when it is read. A plain safetensors file and a
`state_dict` of torch's are read too.
"""

from fkd.checkpoint._checksum import checksum
from fkd.checkpoint._file import write
from fkd.checkpoint._members import (
    by_member,
    load_members,
    members,
    of_members,
    only_members,
    save_members,
)
from fkd.checkpoint._read import about, read
from fkd.checkpoint._tree import load, save
from fkd.checkpoint._whole import flush, remove_left_overs, whole

__all__ = [
    "about",
    "by_member",
    "checksum",
    "flush",
    "load",
    "load_members",
    "members",
    "of_members",
    "only_members",
    "read",
    "remove_left_overs",
    "save",
    "save_members",
    "whole",
    "write",
]
