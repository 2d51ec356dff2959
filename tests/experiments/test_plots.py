"""The plots of dvc.yaml hold the curves of all experiments."""

from tests.small_project import Project

CURVES = {
    "loss": {"train/loss.tsv", "val/loss.tsv"},
    "token_loss": {"train/token_loss.tsv", "val/token_loss.tsv"},
    "code_loss": {"train/code_loss.tsv", "val/code_loss.tsv"},
    "top_5_accuracy": {"train/top_5_accuracy.tsv", "val/top_5_accuracy.tsv"},
    "learning_rate": {"train/learning_rate.tsv"},
    "grad_norm": {"train/grad_norm.tsv"},
}
OF_CHECKPOINTS = {"voice_difference", "checkpoint_loss"}
NOT_MEASURED = {"error_rate", "similarity", "naturalness"}
TRAIN_STEPS = ["1", "2", "3", "4"]
VAL_STEPS = ["0", "2", "4"]


def test_every_chart_has_all_curves_of_all_experiments(swept: Project) -> None:
    compared = ["main", *sorted(swept.experiments().keys() - {"baseline", "skip"})]
    assert len(compared) == 3
    plots = swept.json("dvc", "plots", "diff", *compared, "--json")
    # Columns that were not measured are empty, not missing.
    assert "errors" not in plots
    assert plots["data"].keys() == CURVES.keys() | OF_CHECKPOINTS | NOT_MEASURED
    for name, files in CURVES.items():
        (chart,) = plots["data"][name]
        assert chart["revisions"] == compared
        points = chart["content"]["data"]["values"]
        for revision in compared:
            for file in files:
                steps = [
                    point["step"]
                    for point in points
                    if point["rev"] == revision and point.get("filename", file) == file
                ]
                assert steps == (VAL_STEPS if file.startswith("val/") else TRAIN_STEPS)
