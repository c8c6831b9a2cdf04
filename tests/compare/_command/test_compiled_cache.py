"""Where the compiler keeps its results: beside the downloads, unless the user said otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from fkd.compare._command import compiled_cache
from fkd.compare._command.compiled_cache import keep_compiled

NAME = "TORCHINDUCTOR_CACHE_DIR"
TRITON = "TRITON_CACHE_DIR"


@pytest.fixture(autouse=True)
def unset(monkeypatch, tmp_path):
    for name in (NAME, TRITON):
        monkeypatch.setenv(name, "")  # so that it is as before when the test is over
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FKD_CACHE", "cache")


def test_it_is_kept_in_fkds_cache(tmp_path):
    keep_compiled()
    assert Path(os.environ[NAME]).parent == tmp_path / "cache" / "compiled"
    assert Path(os.environ[NAME]).is_dir()
    assert os.environ[TRITON] == f"{os.environ[NAME]}/triton"


def test_each_instruction_set_and_number_of_threads_has_its_own(monkeypatch):
    folders = set()
    for kind, threads in (("AVX2", 1), ("AVX512", 1), ("AVX512", 2)):
        monkeypatch.delenv(NAME, raising=False)
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda kind=kind: kind)
        monkeypatch.setattr("torch.get_num_threads", lambda threads=threads: threads)
        keep_compiled()
        folders.add(os.environ[NAME])
    assert len(folders) == 3


def test_each_version_of_the_operators_has_its_own(monkeypatch, tmp_path):
    folders = set()
    assert any(compiled_cache.OPERATORS.glob("*.py"))
    monkeypatch.setattr(compiled_cache, "OPERATORS", tmp_path)
    for source in ("x + y", "x - y"):
        (tmp_path / "operators.py").write_text(source)
        monkeypatch.delenv(NAME, raising=False)
        keep_compiled()
        folders.add(os.environ[NAME])
    assert len(folders) == 2


def test_the_users_own_choice_stays(monkeypatch, tmp_path):
    monkeypatch.setenv(NAME, "mine")
    keep_compiled()
    assert os.environ[NAME] == "mine"
    assert not (tmp_path / "cache").exists()
    assert os.environ[TRITON] == "mine/triton"


def test_the_users_own_choice_for_triton_stays(monkeypatch):
    monkeypatch.setenv(TRITON, "kernels")
    keep_compiled()
    assert os.environ[TRITON] == "kernels"


def test_what_torch_itself_has_set_is_no_choice_of_the_users(monkeypatch, tmp_path):
    """As its compiler does, the second when it meets its first kernel."""
    monkeypatch.setenv(NAME, default_cache_dir())
    monkeypatch.setenv(TRITON, f"{default_cache_dir()}/triton/0")
    keep_compiled()
    assert Path(os.environ[NAME]).parent == tmp_path / "cache" / "compiled"
    assert os.environ[TRITON] == f"{os.environ[NAME]}/triton"


def test_a_cache_that_cannot_be_made_leaves_torchs_own(tmp_path):
    (tmp_path / "cache").write_text("a file")
    keep_compiled()
    assert NAME not in os.environ and TRITON not in os.environ


@pytest.mark.slow
def test_the_compiler_writes_there_though_it_was_imported_before():
    """Importing it puts torch's own default into the variable."""
    program = (
        "import torch, torch._dynamo\n"
        "from fkd.compare._command.compiled_cache import keep_compiled\n"
        "keep_compiled()\n"
        "torch.compile(lambda x: x @ x)(torch.ones(3, 3))"  # which needs no C++ compiler
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert any(Path("cache/compiled").glob("*/*"))
