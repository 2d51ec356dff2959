"""Several processes share files evenly, and if one dies the stage fails and says so."""

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.fabric.utilities.rank_zero import rank_zero_only

from fishdvc.errors import ParamsError
from fishdvc.files import ranks
from fishdvc.files.ranks import Rank, check_alone, run_on_ranks, share_out

HERE = {"device": "cpu", "index": 0}


def test_the_longest_goes_to_whoever_has_least() -> None:
    assert share_out([1.0, 5.0, 2.0, 4.0, 3.0], 2) == [[0, 1, 2], [3, 4]]
    assert share_out([2.0, 2.0, 2.0], 2) == [[0, 2], [1]]
    assert share_out([3.0], 3) == [[0], [], []]
    assert share_out([], 2) == [[], []]


def test_files_that_cost_nothing_are_shared_too() -> None:
    assert share_out([0.0] * 6, 3) == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 7])
def test_every_file_is_somebody_s_and_loads_are_even(num_ranks: int) -> None:
    costs = np.random.default_rng(0).exponential(4.0, 500).tolist()
    shares = share_out(costs, num_ranks)
    assert sorted(itertools.chain(*shares)) == list(range(500))
    loads = [sum(costs[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= min(costs) * 2 + 0.1


def test_no_rank_has_more_than_four_thirds_of_the_best_possible() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        costs = rng.integers(1, 20, 7).tolist()
        shares = share_out(costs, 3)
        best = min(
            max(
                sum(c for c, r in zip(costs, owners, strict=True) if r == rank) for rank in range(3)
            )
            for owners in itertools.product(range(3), repeat=7)
        )
        assert max(sum(costs[i] for i in share) for share in shares) <= 4 / 3 * best


def test_a_rank_has_its_share_in_order_and_its_part_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rank = Rank(**HERE, size=2, num_local=2)  # type: ignore[arg-type]
    assert rank.share(["a", "b", "c"], [1.0, 3.0, 2.5]) == ["b"]
    monkeypatch.setattr(ranks, "num_workers", lambda _asked: 8)
    assert rank.workers(0) == 4
    assert rank.workers(3) == 3
    assert Rank(**HERE, size=99, num_local=99).workers(0) == 1  # type: ignore[arg-type]


def test_each_rank_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    # Lightning writes the rank of what it builds there, and would take this process for it.
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    for local_rank in ("0", "3"):
        monkeypatch.setenv("LOCAL_RANK", local_rank)
        assert str(ranks._make_fabric("cuda", 4, 1).device) == f"cuda:{local_rank}"


def test_alone_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    check_alone("normalize")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ParamsError, match=r"one of 4 processes .* normalize\.num_nodes are 1"):
        check_alone("normalize")


def test_several_machines_need_somebody_who_starts_them() -> None:
    with pytest.raises(ParamsError, match=r"num_nodes: 2 machines .* torchrun or srun"):
        run_on_ranks("x", lambda _rank: 0, accelerator="cpu", devices=1, num_nodes=2)


def run(folder: Path, top: Path, body: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a little stage on two processes; ``body`` is what each rank does."""
    script = f"""
        import os, signal, time
        from pathlib import Path
        from fishdvc.errors import AudioError
        from fishdvc.files.ranks import run_on_ranks
        from stages.command import run_stage

        def work(rank):
            {body}

        def main():
            made = run_on_ranks("x", work, accelerator="cpu", devices=2, num_nodes=1)
            return "" if made is None else f"made {{made}}"

        if __name__ == "__main__":
            run_stage(main)
        """
    (folder / "little.py").write_text(textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, "little.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(top), **env},
        capture_output=True,
        text=True,
        timeout=600,  # far less than the ranks sleep
        check=False,
    )


def test_the_first_rank_goes_on_when_all_are_done(tmp_path: Path, top: Path) -> None:
    done = run(tmp_path, top, "Path(f'{rank}').touch(); return 10 + rank.index")
    assert (done.returncode, done.stdout) == (0, "made 21\n"), done.stderr
    assert done.stderr == ""
    found = {path.name for path in tmp_path.glob("Rank*")}
    assert found == {str(Rank(index=i, size=2, num_local=2, device="cpu")) for i in (0, 1)}


@pytest.mark.parametrize("dying", [0, 1])
def test_a_rank_that_is_killed_fails_the_stage_at_once(
    dying: int, tmp_path: Path, top: Path
) -> None:
    kill = f"rank.index == {dying} and os.kill(os.getpid(), 9)"
    body = f"{kill}; time.sleep(1000 * rank.index); return 0"
    done = run(tmp_path, top, body)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"error: x: process {dying} of 2 died: signal 9 (SIGKILL)" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_of_a_rank_is_the_stage_s(tmp_path: Path, top: Path) -> None:
    body = "if rank.index: raise AudioError('a.wav: not readable'); time.sleep(1000)"
    done = run(tmp_path, top, body.replace("; time", "\n            time"))
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first == "error: a.wav: not readable"
    assert second.startswith("error: x: process 1 of 2 died: exit code 1; what it said stands ab")


def test_other_numbers_than_the_launcher_s_are_refused(tmp_path: Path, top: Path) -> None:
    launcher = {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "3", "GROUP_RANK": "0"}
    launcher |= {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = run(tmp_path, top, "return 0", **launcher)
    assert done.returncode == 1
    assert "error: x.devices, x.num_nodes: You set `devices=2` and `num_nodes=1`" in done.stderr


def test_one_process_starts_without_torch(top: Path) -> None:
    heavy: Any = subprocess.run(
        [sys.executable, "-c", "import sys, stages.normalize; print('torch' in sys.modules)"],
        cwd=top,
        capture_output=True,
        text=True,
        check=True,
    )
    assert heavy.stdout == "False\n"
