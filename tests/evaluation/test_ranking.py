"""Each branch of the rule, on tables made by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from fishdvc.errors import CheckpointError
from fishdvc.evaluation.bootstrap import summarize
from fishdvc.evaluation.ranking import Gates, choose
from fishdvc.evaluation.results import Choice, Row, RowKind

GATES = Gates(min_ended_share=0.9, max_looped_share=0.1, max_cer_increase=0.05)
GOOD = {"ended_share": 1.0, "looped_share": 0.0, "cer": 0.2, "similarity": 0.6}

Values = dict[str, dict[str, float]]


def sentences(**values: float | Sequence[float]) -> Values:
    """Values of ten sentences, from one number for all of them or from ten."""
    return {
        str(i): {
            metric: value[i] if isinstance(value, Sequence) else value
            for metric, value in {**GOOD, **values}.items()
        }
        for i in range(10)
    }


def run(
    tables: Mapping[str, Values],
    votes: Mapping[str, int] | None = None,
    problems: Mapping[str, str] | None = None,
) -> tuple[dict[str, Row], Choice]:
    """Choose from tables, by name: ``base``, ``recording`` or ``step-`` and the step."""
    rows = []
    for name, values in tables.items():
        kinds: dict[str, RowKind] = {"base": "base", "recording": "recording"}
        step = None if name == "recording" else int(name.removeprefix("step-").replace("base", "0"))
        kind = kinds.get(name, "checkpoint")
        row = summarize(name=name, kind=kind, step=step, values=values, base=tables["base"])
        rows.append(replace(row, problem=(problems or {}).get(name)))
    ranked, choice = choose(rows, tables, GATES, votes)
    return {row.name: row for row in ranked}, choice


def drop(values: Values, *metrics: str) -> Values:
    return {
        name: {metric: value for metric, value in row.items() if metric not in metrics}
        for name, row in values.items()
    }


def test_most_similar_voice_is_chosen() -> None:
    rows, choice = run(
        {
            "recording": sentences(similarity=1.0),
            "base": sentences(),
            "step-1": sentences(similarity=0.7),
            "step-2": sentences(similarity=0.8),
            "step-3": sentences(similarity=0.75),
        }
    )
    assert choice == Choice(
        checkpoint="step-2",
        reason="Of the 3 checkpoints that pass every gate, it has the voice most similar to the "
        "speaker's (speaker similarity 0.80, base 0.60).",
        warning=None,
        compare_first=("step-2", "step-3"),
    )
    assert all(row.failures == () for row in rows.values())


def test_ties_go_to_the_earlier_step_whatever_the_order_of_rows() -> None:
    noise = [0.8 + 0.05 * (-1) ** i for i in range(10)]
    _, choice = run(
        {
            "step-10": sentences(similarity=0.801),
            "step-9": sentences(similarity=noise),
            "base": sentences(),
            "step-1": sentences(similarity=0.7),
        }
    )
    assert choice.checkpoint == "step-9"
    assert choice.compare_first == ("step-9", "step-10")
    assert choice.reason.endswith("It ties with step-10; it is the earliest of these.")


def test_listeners_decide_ties_only() -> None:
    tables = {
        "base": sentences(),
        "step-1": sentences(similarity=0.8),
        "step-2": sentences(similarity=0.8),
        "step-3": sentences(similarity=0.7),
    }
    _, choice = run(tables, {"step-3": 9, "step-2": 3, "step-1": 1})
    assert choice.checkpoint == "step-2"
    assert choice.reason.endswith("of these, it won most comparisons of the blind test (3).")
    _, choice = run(tables, {"step-2": 3, "step-1": 3})
    assert choice.checkpoint == "step-1"
    assert choice.reason.endswith("it is the earliest of these.")


@pytest.mark.parametrize(
    ("spoiled", "failure"),
    [
        (
            {"ended_share": [1.0] * 8 + [0.0] * 2},
            "only 80 % of its sentences end by themselves; 90 % must",
        ),
        ({"looped_share": 0.3}, "30 % of its speech repeats itself; 10 % may"),
        (
            {"cer": 0.3},
            "its character error rate is +0.10 (+0.10 to +0.10) above the base's; 0.05 is allowed",
        ),
    ],
)
def test_row_that_fails_a_gate_is_not_chosen(spoiled: dict[str, float], failure: str) -> None:
    rows, choice = run(
        {
            "base": sentences(),
            "step-1": sentences(similarity=0.7),
            "step-2": sentences(similarity=0.9, **spoiled),
        }
    )
    assert rows["step-2"].failures == (failure,)
    assert rows["step-1"].failures == ()
    assert choice.checkpoint == "step-1"
    assert choice.reason.startswith("No other checkpoint passes every gate")


def test_error_rate_may_rise_by_chance_or_within_the_margin() -> None:
    by_chance = [0.2] * 9 + [0.9]
    rows, _ = run(
        {
            "base": sentences(),
            "step-1": sentences(cer=by_chance),
            "step-2": sentences(cer=0.24),
        }
    )
    assert rows["step-1"].failures == rows["step-2"].failures == ()


def test_without_optional_metrics_pitch_and_spectrum_decide() -> None:
    tables = {
        "base": sentences(voice_difference=6.0),
        "step-1": sentences(voice_difference=3.0),
        "step-2": sentences(voice_difference=4.0),
        "step-3": sentences(voice_difference=1.0, looped_share=1.0),
    }
    _, choice = run({name: drop(rows, "cer", "similarity") for name, rows in tables.items()})
    assert choice == Choice(
        checkpoint="step-1",
        reason="Of the 2 checkpoints that pass every gate, it has the voice most similar to the "
        "speaker's (difference of pitch and spectrum 3.00, base 6.00).",
        warning=None,
        compare_first=("step-1", "step-2"),
    )


def test_zero_adapter_ties_with_the_base_and_is_no_better() -> None:
    rows, choice = run({"base": sentences(), "step-5": sentences()})
    assert rows["step-5"].ties == ("cer", "ended_share", "looped_share", "similarity")
    assert choice.checkpoint == "step-5"
    assert choice.warning == (
        "No checkpoint is better than the base. Differences of step-5 from the base: "
        "speaker similarity +0.00 (+0.00 to +0.00), "
        "character error rate +0.00 (+0.00 to +0.00)."
    )


def test_checkpoint_with_fewer_errors_is_better_than_the_base() -> None:
    _, choice = run({"base": sentences(), "step-1": sentences(), "step-2": sentences(cer=0.1)})
    assert choice.checkpoint == "step-2"
    assert choice.warning is None


def test_checkpoint_that_ties_with_the_base_does_not_win_as_the_earlier_one() -> None:
    varied = [0.6] * 9 + [0.9]
    _, choice = run(
        {
            "base": sentences(),
            "step-1": sentences(similarity=varied),
            "step-2": sentences(similarity=0.64),
        }
    )
    assert choice.checkpoint == "step-2"


def test_least_bad_is_chosen_with_a_warning_if_none_passes() -> None:
    _, choice = run(
        {
            "base": sentences(),
            "step-1": sentences(ended_share=0.0, looped_share=0.9),
            "step-2": sentences(cer=0.9, similarity=0.9),
            "step-3": sentences(cer=0.4),
            "step-4": sentences(cer=0.4),
        }
    )
    assert choice.checkpoint == "step-3"
    assert choice.compare_first == ("step-3", "step-4")
    assert choice.warning == (
        "No checkpoint passes every gate. step-3 is the least bad: its character error rate is "
        "+0.20 (+0.20 to +0.20) above the base's; 0.05 is allowed."
    )


def test_unmeasured_voice_leaves_the_earliest() -> None:
    tables = {name: drop(sentences(), "similarity") for name in ("base", "step-2", "step-1")}
    _, choice = run(tables)
    assert choice.checkpoint == "step-1"
    assert "(the voice could not be measured)" in choice.reason


def test_base_is_shown_with_its_own_failures_and_never_chosen() -> None:
    rows, choice = run({"base": sentences(ended_share=0.5), "step-1": sentences(similarity=0.1)})
    assert len(rows["base"].failures) == 1
    assert choice.checkpoint == "step-1"


def test_missing_base_or_checkpoint_is_an_error() -> None:
    row = Row(name="base", kind="base", step=0, metrics={})
    bad = Row(name="step-1", kind="checkpoint", step=1, metrics={}, problem="cut")
    with pytest.raises(CheckpointError, match="at least one checkpoint"):
        choose([row, bad], {"base": {}, "step-1": {}}, GATES)


@pytest.mark.parametrize("ended_share", [1.0, 0.0])
def test_a_checkpoint_with_a_problem_is_not_even_the_least_bad(ended_share: float) -> None:
    rows, choice = run(
        {
            "base": sentences(),
            "step-1": {},
            "step-2": sentences(similarity=0.9),
            "step-3": sentences(ended_share=ended_share, looped_share=1.0 - ended_share),
        },
        problems={"step-1": "cut", "step-2": "it is untrained"},
    )
    assert choice.checkpoint == "step-3"
    assert choice.compare_first == ("step-3",)
    assert rows["step-1"].failures == ("cannot be chosen: cut",)
    assert choice.warning
    assert choice.warning.endswith("Not to be chosen: step-1 (cut), step-2 (it is untrained).")


def test_shares_at_the_thresholds_pass() -> None:
    at_thresholds = sentences(ended_share=[1.0] * 9 + [0.0], looped_share=[1.0] + [0.0] * 9)
    rows, _ = run({"base": sentences(), "step-1": at_thresholds})
    assert rows["step-1"].failures == ()


def test_error_rate_above_the_margin_fails_though_its_interval_includes_the_margin() -> None:
    rows, _ = run({"base": sentences(), "step-1": sentences(cer=[0.2] * 4 + [0.32] * 6)})
    (failure,) = rows["step-1"].failures
    assert "character error rate is +0.07" in failure


@pytest.mark.parametrize(
    "values",
    [{"similarity": 0.5}, {"similarity": 0.5, "cer": [0.2] * 9 + [0.0]}],
    ids=["another voice", "fewer errors by chance"],
)
def test_checkpoint_is_not_better_than_the_base(values: dict[str, float]) -> None:
    _, choice = run({"base": sentences(), "step-1": sentences(**values)})
    assert choice.warning
    assert choice.warning.startswith("No checkpoint is better than the base.")


def test_least_bad_of_as_many_errors_ends_most_sentences() -> None:
    _, choice = run(
        {
            "base": sentences(),
            "step-1": sentences(ended_share=0.1),
            "step-2": sentences(ended_share=0.5),
        }
    )
    assert choice.checkpoint == "step-2"


def test_similarity_that_some_checkpoints_lack_does_not_decide() -> None:
    _, choice = run(
        {
            "base": sentences(voice_difference=6.0),
            "step-1": drop(sentences(voice_difference=1.0), "similarity"),
            "step-2": sentences(voice_difference=2.0, similarity=0.9),
        }
    )
    assert choice.checkpoint == "step-1"
