from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from fishdvc.dataset.collate import Batch
from fishdvc.dataset.datamodule import SentenceDataModule
from fishdvc.dataset.shards import Sentence, SpeakerGroup, write_shard
from fishdvc.errors import DatasetError
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",  # starting one costs more than these batches
    "ignore:.*LeafSpec.*is deprecated:FutureWarning",  # lightning 2.6 with torch 2.14
)
NUM_SENTENCES = 24


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers of 12 sentences; sentence n has 5 + n frames, all codes n."""
    folder = tmp_path_factory.mktemp("shards")
    sentences = [
        Sentence((f"text {n}",), np.full((8, 5 + n), n, dtype=np.uint16))
        for n in range(NUM_SENTENCES)
    ]
    groups = [
        SpeakerGroup("a", "folder", tuple(sentences[:12])),
        SpeakerGroup("b", "folder", tuple(sentences[12:])),
    ]
    write_shard(folder / "0.protos", groups)
    return folder


def data_of(shards: Path, tokenizer: Tokenizer, **changes: Any) -> SentenceDataModule:
    settings = {"batch_size": 2, "max_length": 200, "seed": 1, "num_workers": 0} | changes
    return SentenceDataModule(
        shards, shards, tokenizer, num_codebooks=8, codebook_size=1000, **settings
    )


def sentences_in(batch: Batch) -> list[list[int]]:
    """Numbers of the sentences in each sequence, told by the codes after each ``<|voice|>``."""
    return [(row[1][1:][row[0][:-1] == 1034]).tolist() for row in batch.inputs]


def on_rank(rank: int, num_ranks: int, epoch: int = 0) -> Any:
    return SimpleNamespace(global_rank=rank, world_size=num_ranks, current_epoch=epoch)


def test_an_epoch_holds_every_sentence_once_and_whole(shards: Path, tokenizer: Tokenizer) -> None:
    data = data_of(shards, tokenizer)
    data.setup()
    batches = list(data.train_dataloader())
    assert len(batches) == data.num_train_batches(epoch=0)
    seen = [sentences_in(batch) for batch in batches]
    flat = [n for batch in seen for sequence in batch for n in sequence]
    assert sorted(flat) == list(range(NUM_SENTENCES))
    assert all(len({n < 12 for n in sequence}) == 1 for batch in seen for sequence in batch)
    assert sum(int((~batch.padding_mask).sum()) for batch in batches) == data.num_train_tokens
    assert max(batch.inputs.shape[2] for batch in batches) <= 200
    assert data.num_train_sentences == data.num_val_sentences == NUM_SENTENCES


def test_epochs_differ_and_ranks_share(shards: Path, tokenizer: Tokenizer) -> None:
    data = data_of(shards, tokenizer)

    def seen(rank: int, num_ranks: int, epoch: int) -> list[list[list[int]]]:
        data.trainer = on_rank(rank, num_ranks, epoch)
        return [sentences_in(batch) for batch in data.train_dataloader()]

    assert seen(0, 1, 0) == seen(0, 1, 0) != seen(0, 1, 1)
    both = [seen(rank, 2, 3) for rank in range(2)]
    assert len(both[0]) == len(both[1]) == data.num_train_batches(epoch=3, num_ranks=2)
    flat = [n for rank in both for batch in rank for sequence in batch for n in sequence]
    assert sorted(flat) == list(range(NUM_SENTENCES))


def test_validation_takes_each_sentence_alone_in_a_fixed_order(
    shards: Path, tokenizer: Tokenizer
) -> None:
    data = data_of(shards, tokenizer)
    seen = [n for batch in data.val_dataloader() for n in sentences_in(batch)]
    assert seen == [[n] for n in range(NUM_SENTENCES)]
    data.trainer = on_rank(1, 2, epoch=7)
    assert next(sentences_in(batch) for batch in data.val_dataloader()) == [[2], [3]]


def test_too_long_sentences_are_left_out_and_named(shards: Path, tokenizer: Tokenizer) -> None:
    lengths = data_of(shards, tokenizer)._train_set.num_tokens
    data = data_of(shards, tokenizer, max_length=lengths[-3])
    data.setup()
    assert data.num_train_sentences == NUM_SENTENCES - 2
    assert (
        data.too_long_train_sentences
        == data.too_long_val_sentences
        == tuple(
            f"b, sentence {n - 12} ('text {n}'): at most {lengths[-3]} tokens, got {lengths[n]}"
            for n in (22, 23)
        )
    )
    for loader in (data.train_dataloader(), data.val_dataloader()):
        flat = [n for batch in loader for sequence in sentences_in(batch) for n in sequence]
        assert sorted(flat) == list(range(NUM_SENTENCES - 2))
    with pytest.raises(DatasetError, match=r"every sentence is too long.*\(24 problems\)"):
        data_of(shards, tokenizer, max_length=10).setup()


def test_workers_change_nothing(shards: Path, tokenizer: Tokenizer) -> None:
    alone = data_of(shards, tokenizer).train_dataloader()
    helped = data_of(shards, tokenizer, num_workers=1).train_dataloader()
    for left, right in zip(alone, helped, strict=True):
        torch.testing.assert_close(left, right)


class Recorder(lightning.LightningModule):
    """Learns nothing and remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, int, list[list[int]]]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append((self.current_epoch, batch_idx, sentences_in(batch)))
        return self.weight.sum()

    def validation_step(self, batch: Batch) -> None:
        assert batch.inputs.shape[0] <= 2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(lightning.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def trainer_of(*callbacks: lightning.Callback) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        max_steps=13,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize("step", [1, 3, 4, 5, 10])
def test_a_resumed_run_sees_the_batches_that_were_left(
    shards: Path, tokenizer: Tokenizer, tmp_path: Path, step: int
) -> None:
    whole, rest = Recorder(), Recorder()
    path = tmp_path / "run.ckpt"
    data = data_of(shards, tokenizer)
    assert data.num_train_batches(epoch=0) == 4
    trainer_of(SaveAt(step, path)).fit(whole, data)
    assert len(whole.seen) == 13
    trainer_of().fit(rest, data_of(shards, tokenizer), ckpt_path=path)
    assert rest.seen == whole.seen[step:]


def test_a_run_may_be_resumed_twice(shards: Path, tokenizer: Tokenizer) -> None:
    data = data_of(shards, tokenizer)
    state, seen = data.train_dataloader().state_dict(), []
    for _ in range(data.num_train_batches(epoch=0)):
        loader = data.train_dataloader()
        loader.load_state_dict(state)
        seen.append(sentences_in(next(iter(loader))))
        state = loader.state_dict()
    assert seen == [sentences_in(batch) for batch in data.train_dataloader()]


def test_a_position_in_other_batches_is_refused(shards: Path, tokenizer: Tokenizer) -> None:
    loader = data_of(shards, tokenizer).train_dataloader()
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    other = data_of(shards, tokenizer, batch_size=3).train_dataloader()
    with pytest.raises(DatasetError, match="4 batches as in the interrupted run, got 3"):
        other.load_state_dict(state)
    state["epoch"] = 1
    other.load_state_dict(state)
    assert len(list(other)) == 3
