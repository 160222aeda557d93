"""What a flow run's page shows: tables, texts and links, as Prefect's artifacts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.errors import listed
from tasks.params import load_params

if TYPE_CHECKING:
    from tasks.comparison.schema import Comparison
    from tasks.serving.exports import Export
    from tasks.steps.retrain import Decision


def show_data_quality() -> None:
    """Show what the images are, as the last preparation counted."""
    from tasks.data.quality import rows
    from tasks.runs.outputs import read_quality

    create_table_artifact(rows(read_quality()), key="data-quality", description="What the images are, counted.")


def show_plan() -> None:
    """Show how long each strategy takes at most, as the last probe estimated."""
    from tasks.progress import duration
    from tasks.runs.estimates import remembered

    planned = remembered()
    if planned:
        table = [{"strategy": name, "at most": duration(seconds)} for name, seconds in planned.strategies.items()]
        create_table_artifact(table, key="plan", description=planned.sentence)


def show_recommendation() -> None:
    """Show in which order the strategies are expected, as the last probe has it."""
    from tasks.comparison.recommendation import recommend
    from tasks.runs.candidates import expected_order, parts_of_candidates
    from tasks.runs.outputs import read_probe

    params = load_params()
    advised = recommend(read_probe().facts, expected_order(params), parts_of_candidates(params))
    table = [
        {"expected": place, "strategy": advice.name, "why": advice.sentence}
        for place, advice in enumerate(advised.order, 1)
    ]
    words = ["What was expected before training, the best first.", *advised.warnings]
    create_table_artifact(table, key="recommendation", description=" ".join(words))


def show_comparison(comparison: "Comparison") -> None:
    """Show a comparison, its verdict and the link to MLflow."""
    from tasks import tracking
    from tasks.comparison.summary import markdown, rows

    address = tracking.run_address(comparison.mlflow_experiment_id, comparison.mlflow_run_id)
    page = markdown(comparison, {"the comparison in MLflow": address})
    create_table_artifact(rows(comparison), key="comparison", description=comparison.verdict)
    create_markdown_artifact(page, key="verdict", description=comparison.verdict)
    create_link_artifact(address, key="mlflow-run", link_text="the comparison in MLflow", description=address)


def show_decision(decided: "Decision") -> None:
    """Show whether a retraining's challenger was promoted, and why."""
    create_markdown_artifact(_decision_page(decided), key="retrain", description=decided.sentence)


def show_export(exported: "Export") -> None:
    """Show the files of an exported champion, and what was measured of them."""
    from tasks.serving.export_table import caption, rows

    create_table_artifact(rows(exported), key="export", description=caption(exported))


def show_scores(counts: Mapping[str, int], images: Sequence[str], model: str) -> None:
    """Show how many images a champion gave each label.

    Args:
        counts: images by label.
        images: what was scored, as the user named it.
        model: address of the champion; empty: the registered one.
    """
    rows = [{"label": label, "images": count} for label, count in counts.items()]
    described = f"What {model or 'the champion'} says of {listed(images)}."
    create_table_artifact(rows, key="scores", description=described)


def _decision_page(decided: "Decision") -> str:
    """Return a decision as Markdown."""
    lines = [f"# {decided.decision.capitalize()}", "", f"{decided.sentence}."]
    if decided.ruling and decided.ruling.checks:
        lines += ["", "| | champion | challenger | |", "|---|---|---|---|"]
        for check in decided.ruling.checks:
            values = ["undefined" if v is None else f"{v:.4g}" for v in (check.champion, check.challenger)]
            name = check.name.replace("|", "\\|")
            lines.append(f"| {name} | {' | '.join(values)} | {'passed' if check.passed else '**failed**'} |")
    lines += ["", *(f"- {warning}" for warning in decided.warnings)]
    return "\n".join(lines)
