"""Rows are averaged, votes count for the speech that was heard, and tables have the results."""

from pathlib import Path

from fishdvc.evaluation.ranking import Gates
from fishdvc.evaluation.results import Evaluation, Interval, Measures, Metric, Player, Sentence
from fishdvc.evaluation.rows import Finished, Voice, rank_rows
from fishdvc.evaluation.tables import checkpoint_table, chosen_checkpoint, figures, read_curves
from fishdvc.evaluation.votes import Vote

GATES = Gates(min_ended_share=0.9, max_looped_share=0.1, max_cer_increase=0.05)
METRICS = [
    Metric(name=name, title=name, better="higher", meaning="")
    for name in ("duration_ratio", "similarity", "ended_share", "wer")
]
SENTENCES = [
    Sentence(name=name, text=name, speaker="ann", source="own", reference=None) for name in "ab"
]


def finished(voice: Voice, similarity: float | None) -> Finished:
    """A row that speaks two sentences, or none if it has no similarity."""
    if similarity is None:
        return Finished(voice, {}, {})
    values = {"similarity": similarity, "ended_share": 1.0, "duration_ratio": 1.5}
    players = {
        name: Player(
            audio="", audio_hash=f"{voice.name} {name}", spectrogram="", heard=None, metrics={}
        )
        for name in "ab"
    }
    return Finished(voice, dict.fromkeys("ab", Measures(values=values)), players)


def vote(winner: str, *, audio: str = "20 a") -> Vote:
    """A vote on two checkpoints that speak sentence a."""
    return Vote(sentence="a", row_a="10", row_b="20", audio_a="10 a", audio_b=audio, winner=winner)


def rank(votes: list[Vote]) -> Evaluation:
    """Rank two checkpoints of equal voice, and one that cannot be chosen."""
    rows = [
        finished(Voice(name="recording", kind="recording"), 1.0),
        finished(Voice(name="base", kind="base", step=0, val_loss=9.0), 0.5),
        finished(Voice(name="10", kind="checkpoint", step=10, val_loss=4.0), 0.8),
        finished(Voice(name="20", kind="checkpoint", step=20, val_loss=3.0), 0.8),
        finished(Voice(name="30", kind="checkpoint", step=30, val_loss=2.0, problem="cut"), None),
    ]
    return rank_rows(
        rows,
        gates=GATES,
        votes=votes,
        sentences=SENTENCES,
        metrics=METRICS,
        not_measured=["not measured: cer"],
    )


def test_votes_decide_between_equal_voices() -> None:
    evaluation = rank([])
    assert evaluation.choice.checkpoint == "10"
    assert evaluation.choice.compare_first == ("10", "20")
    evaluation = rank([vote("20"), vote("10"), vote("20")])
    assert evaluation.choice.checkpoint == "20"
    wins = {
        row.name: row.metrics["votes"].value for row in evaluation.rows if "votes" in row.metrics
    }
    assert wins == {"10": 1, "20": 2}
    assert evaluation.not_measured == ("not measured: cer",)


def test_votes_on_other_speech_are_named_and_do_not_decide() -> None:
    evaluation = rank([vote("20", audio="older")])
    assert evaluation.choice.checkpoint == "10"
    assert evaluation.not_measured[0] == "not measured: cer"
    assert evaluation.not_measured[1].startswith("not counted: 1 of 1 votes")


def test_rows_have_means_losses_ties_and_problems() -> None:
    evaluation = rank([])
    rows = {row.name: row for row in evaluation.rows}
    assert list(rows) == ["recording", "base", "10", "20", "30"]
    assert rows["10"].metrics["similarity"] == Interval(value=0.8, low=0.8, high=0.8)
    assert rows["20"].metrics["val_loss"] == Interval(value=3, low=3, high=3)
    assert "val_loss" not in rows["recording"].metrics
    assert rows["10"].ties == ("duration_ratio", "ended_share")
    assert rows["base"].ties == ()
    assert rows["30"].problem == "cut"
    assert rows["30"].failures == ("cannot be chosen: cut",)
    # Those that decide are first, and what nothing measured is left out.
    names = [metric.name for metric in evaluation.metrics]
    assert names == ["similarity", "ended_share", "duration_ratio", "val_loss"]
    with_votes = [metric.name for metric in rank([vote("10")]).metrics]
    assert with_votes == ["votes", *names]


def test_the_table_has_a_line_for_the_base_and_each_checkpoint() -> None:
    evaluation = rank([])
    header, *lines = (line.split(",") for line in checkpoint_table(evaluation).splitlines())
    by_name = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert list(by_name) == ["base", "10", "20", "30"]
    assert by_name["20"]["step"] == "20"
    assert by_name["20"]["similarity"] == "0.8"
    assert by_name["20"]["cer"] == ""
    assert [by_name[name]["failed_gates"] for name in by_name] == ["0", "0", "0", "1"]


def test_the_table_has_the_ends_of_intervals() -> None:
    evaluation = rank([])
    measures = [Measures(values={"similarity": value}) for value in (0.1, 0.9)]
    row = Finished(
        Voice(name="10", kind="checkpoint", step=10), dict(zip("ab", measures, strict=True)), {}
    )
    base = finished(Voice(name="base", kind="base", step=0), 0.5)
    evaluation = rank_rows(
        [base, row], gates=GATES, votes=[], sentences=SENTENCES, metrics=METRICS, not_measured=[]
    )
    header, _, line = (line.split(",") for line in checkpoint_table(evaluation).splitlines())
    of_row = dict(zip(header, line, strict=True))
    ends = [of_row[f"similarity{end}"] for end in ("_low", "", "_high")]
    assert ends == ["0.1", "0.5", "0.9"]


def test_figures_are_those_of_each_row() -> None:
    evaluation = rank([])
    rows = {row.name: row for row in evaluation.rows}
    assert figures(rows["20"]) == {
        "similarity": 0.8,
        "ended_share": 1,
        "val_loss": 3,
        "duration_ratio": 1.5,
    }
    chosen = chosen_checkpoint(evaluation, num_clips=4, hours=0.12345)
    assert (chosen.checkpoint, chosen.num_clips, chosen.hours) == ("10", 4, 0.1235)
    assert list(chosen.figures) == ["base", "10", "20", "30"]
    assert chosen.figures["base"]["similarity"] == 0.5


def test_curves_are_points_by_step(tmp_path: Path) -> None:
    for name, column in (("train/loss", "loss"), ("train/tokens_per_second", "tokens_per_second")):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"timestamp\tstep\t{column}\n1\t10\t2.5\n2\t20\t1.5\n")
    assert read_curves(tmp_path) == {"train loss": [(10, 2.5), (20, 1.5)]}
