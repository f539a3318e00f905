"""Every method of explanation that the field knows by name: a command, a line of both tables, a test, a control.

The control is the test in which what knows nothing fails: random weights, shuffled labels, random concepts, luck.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from borzoi_rt.cli import main

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Way:
    """How a method is called, and the tests of it and of what must fail, as FILE::FUNCTION below tests/."""

    call: str
    test: str
    control: str


_PLANTED = "explain/test_evaluate_truth.py::test_planted_bases_are_found_and_random_weights_find_none"
_RANDOM_INSIDE = "inside/test_inside_commands.py::test_of_random_weights_planted_promoters_are_not_found"
_DESIGN = "inside/test_design.py::test_the_planted_promoter_is_designed"
_JUDGED = "explain/test_evaluate.py::test_a_map_by_chance_fails_where_a_method_passes"
FIELD: dict[str, Way] = {
    "GradCAM": Way(
        "cam --method gradcam", "inside/test_maps.py::test_of_a_pooled_linear_head_gradcam_is_cam", _RANDOM_INSIDE
    ),
    "GradCAM++": Way("cam --method gradcam++", "inside/test_maps.py::test_formulas_by_hand", _RANDOM_INSIDE),
    "CAM": Way("cam --method cam", "inside/test_maps.py::test_maps_are_their_formula_of_slopes", _RANDOM_INSIDE),
    "DeepLIFT": Way("explain --method deeplift", "export/test_deeplift.py::test_a_network_is_complete", _PLANTED),
    "Input x Gradient": Way(
        "explain --method ixg",
        "explain/test_gradient_methods.py::test_of_a_linear_objective_the_corrected_gradient_is_its_weights",
        _PLANTED,
    ),
    "LIME": Way(
        "explain --method lime",
        "explain/test_perturbations.py::test_lime_finds_the_weights_of_a_linear_objective",
        _PLANTED,
    ),
    "SHAP": Way(
        "explain --method shap", "explain/test_perturbations.py::test_kernel_and_orders_give_shapley_values", _PLANTED
    ),
    "occlusion": Way(
        "explain --method occlusion",
        "explain/test_perturbations.py::test_of_a_linear_objective_a_stretch_counts_its_weight",
        _PLANTED,
    ),
    "attention maps": Way(
        "attention --how rows", "inside/test_attention.py::test_rows_mix_values_as_the_network_does", _RANDOM_INSIDE
    ),
    "transformer explainability": Way(
        "attention --how relevance", "inside/test_attention.py::test_relevance_is_chefers_rule", _RANDOM_INSIDE
    ),
    "feature visualisation": Way(
        "filters",
        "inside/test_units.py::test_a_planted_motif_is_seen_and_named",
        "inside/test_units.py::test_activations_in_random_order_name_nothing",
    ),
    "activation maximisation": Way(
        "design", "inside/test_design.py::test_greedy_finds_the_optimum_of_a_linear_function", _DESIGN
    ),
    "network dissection": Way(
        "dissect",
        "inside/test_units.py::test_iou_is_that_of_the_oracle",
        "inside/test_units.py::test_a_unit_of_a_concept_is_found_and_random_labels_are_not",
    ),
    "TCAV": Way(
        "tcav",
        "concepts/test_concepts_planted.py::test_the_core_of_promoters_is_significant",
        "concepts/test_tcav.py::test_no_concept_is_told_from_chance",
    ),
    "concept bottleneck": Way(
        "bottleneck",
        "concepts/test_concepts_planted.py::test_a_bottleneck_of_what_was_planted",
        "concepts/test_bottleneck.py::test_shuffled_labels_fail",
    ),
    "nearest neighbours": Way(
        "neighbours",
        "examples/test_neighbours.py::test_flat_is_what_sorting_finds",
        "examples/test_neighbours.py::test_promoters_have_promoters_as_neighbours",
    ),
    "influence functions": Way(
        "influence --method influence",
        "examples/test_influence.py::test_influence_is_what_retraining_without_a_window_does",
        "examples/test_influence.py::test_tracin_tells_less_and_noise_nothing",
    ),
    "surrogate models": Way(
        "surrogate --surrogate additive",
        "surrogates/test_fits.py::test_an_additive_model_recovers_a_linear_function",
        "surrogates/test_fits.py::test_shuffled_labels_fail",
    ),
    "rule extraction": Way(
        "surrogate --surrogate rules",
        "surrogates/test_command.py::test_the_planted_grammar_is_recovered",
        "surrogates/test_command.py::test_random_weights_have_no_rule_of_the_grammar",
    ),
    "self-explaining models": Way(
        "promoter train",
        "demo/test_promoter.py::test_the_score_names_the_planted_driver",
        "export/promoter/test_consensus.py::test_nets_of_chance_share_no_motif",
    ),
    "sparse models": Way(
        "promoter train --l1-form l1_sum",
        "export/promoter/test_objectives.py::test_penalties_are_those_of_the_paper",
        "export/training/test_regularisers.py::test_a_penalty_leaves_what_was_planted_and_of_shuffled_labels_nothing",
    ),
    "stability": Way(
        "explain evaluate --metrics seeds",
        "explain/test_evaluate.py::test_from_the_command_line",
        "explain/test_evaluate.py::test_concordance_against_chance",
    ),
    "faithfulness": Way(
        "explain evaluate --metrics deletion",
        "explain/test_evaluate.py::test_of_a_linear_target_these_methods_are_perfect",
        _JUDGED,
    ),
    "human evaluation": Way(
        "explain rate",
        "explain/test_rating.py::test_in_a_browser",
        "explain/test_rating.py::test_raters_who_choose_by_luck_agree_on_nothing",
    ),
}


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of every line of every table of a page."""
    return [
        [cell.strip() for cell in line.strip("|\n").split(" | ")] for line in text.splitlines() if line.startswith("| ")
    ]


def named(name: str, text: str) -> bool:
    """Whether a text has a name as a word of its own, in any case: CAM is not in GradCAM, nor GradCAM in GradCAM++."""
    return re.search(rf"(?<![\w+-]){re.escape(name.casefold())}(?![\w+])", text.casefold()) is not None


def test_names_are_told_apart() -> None:
    assert named("CAM", "CAM, GradCAM")
    assert not named("CAM", "GradCAM, GradCAM++ (Grad-CAM)")
    assert not named("GradCAM", "GradCAM++")
    assert not named("stability", "instability")


@pytest.mark.parametrize("name", FIELD)
def test_the_page_has_a_line_with_its_command_its_check_and_a_warning(name: str) -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = [row for row in rows_of(page[: page.index("## Judge attributions")]) if named(name, row[0])]
    assert len(rows) == 1, f"{name}: {rows}"
    (row,) = rows
    command = FIELD[name].call.split(" --")[0]
    method = FIELD[name].call.rpartition(" ")[2]
    assert f"borzoi-rt {command}" in " ".join(row) or f"`{method}`" in row[0], row
    assert len([cell for cell in row if len(cell) > 1]) >= 4, row  # needs, cost, check
    assert len(row) in (5, 6, 7), row


@pytest.mark.parametrize("name", FIELD)
def test_the_readme_names_it(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("| what is asked |") : readme.index("[docs/methods.md](docs/methods.md) has a row")]
    rows = [row for row in rows_of(table) if named(name, row[1])]
    assert len(rows) == 1, name
    words = FIELD[name].call.split(" --")[0]
    assert f"`{words}" in rows[0][2], rows


@pytest.mark.parametrize("name", FIELD)
def test_the_command_and_its_choice_exist(name: str) -> None:
    words, option, value = [*re.split(r" (--[\w-]+) ", FIELD[name].call), None, None][:3]
    assert words is not None
    if words.startswith("promoter"):
        pytest.importorskip("torch")
    assert CliRunner().invoke(main, [*words.split(), "--help"]).exit_code == 0
    command: click.Command | None = main
    context: click.Context | None = None
    for word in words.split():
        context = click.Context(command, info_name=word, parent=context)  # type: ignore[arg-type]
        assert isinstance(command, click.Group)
        command = command.get_command(context, word)
    assert command is not None
    if option is None:
        return
    (found,) = [parameter for parameter in command.params if option in parameter.opts]
    if isinstance(found.type, click.Choice):
        assert value in found.type.choices
    else:
        assert str(value) in str(getattr(found, "help", "")), option


@pytest.mark.parametrize("name", FIELD)
@pytest.mark.parametrize("kind", ["test", "control"])
def test_it_is_tested_and_has_a_control(name: str, kind: str) -> None:
    file, _, function = getattr(FIELD[name], kind).partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert function in functions, sorted(functions)
