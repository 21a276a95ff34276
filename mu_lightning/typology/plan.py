"""Source selection and weighting for a target."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mu_lightning.locales import is_language, locale
from mu_lightning.settings import SIMILARITY_SOURCES, TypologySettings
from mu_lightning.typology.features import locales_with_data, no_data
from mu_lightning.typology.selection import nearest_sources
from mu_lightning.typology.similarity import SimilarityMatrix, from_features, read_csv
from mu_lightning.typology.weightings import describe, weighed
from mu_lightning.typology.weights import TYPOLOGICAL, WeightRequest, parse_weights, source_weights
from mu_lightning.utilities.errors import UserError, unknown

DEFAULT_MATRIX_FILE = Path("language_similarity_matrix_unified.csv")


@dataclass(frozen=True)
class SourcePlan:
    """Sources of a target with their weights.

    Attributes:
        target: the target locale.
        sources: source locales in the given order, or sorted by similarity if they were selected.
        similarities: raw similarity of the target to each source.
        weights: merge weights, summing to 1.
        preweight: name of the weight source.
        uriel_weights: typological weights, for any `preweight`.
        column_residual: of the weighting ``sinkhorn``: maximum distance of a column sum from 1; None for others.
        without_data: available locales that are missing in the matrix.
        settings: settings of similarity and weighting.
        seed: random seed.
    """

    target: str
    sources: tuple[str, ...]
    similarities: dict[str, float]
    weights: dict[str, float]
    preweight: str
    uriel_weights: dict[str, float]
    column_residual: float | None
    without_data: tuple[str, ...]
    settings: TypologySettings
    seed: int

    def details(self) -> dict[str, Any]:
        """Returns the plan as plain values, for JSON and checkpoints."""
        values = asdict(self) | {"sources": list(self.sources), "without_data": list(self.without_data)}
        matrix = self.settings.similarity_matrix
        values["settings"]["similarity_matrix"] = None if matrix is None else str(matrix)
        return values


def source_matrix(settings: TypologySettings, more: Iterable[str] = ()) -> SimilarityMatrix:
    """The similarities that the settings ask for: over every locale with data, or those of the file.

    Args:
        settings: how similarities come about.
        more: locales that are in the matrix too, where there are features, whether or not the table has them.

    Raises:
        UserError: a missing or invalid file, an unknown feature set, or a file that would not be used.
    """
    if settings.similarity_source == "dense":
        if settings.similarity_matrix is not None:
            raise UserError(
                f"the similarity matrix {settings.similarity_matrix} is read with --similarity-source sparse only; "
                f"add that, or leave the file out"
            )
        return from_features(settings.feature_set, locales_with_data(settings.feature_set, more))
    if settings.similarity_source != "sparse":
        raise unknown("similarity source", settings.similarity_source, SIMILARITY_SOURCES)
    if settings.similarity_matrix is None and not DEFAULT_MATRIX_FILE.is_file():
        raise UserError(
            f"similarity source 'sparse' reads a matrix, but no file is named and there is no {DEFAULT_MATRIX_FILE} "
            f"here: name one by --similarity-matrix, or write it: 'similarity --output-file {DEFAULT_MATRIX_FILE}'"
        )
    return read_csv(settings.similarity_matrix or DEFAULT_MATRIX_FILE)


def plan_sources(
    target: str,
    *,
    available: Collection[str],
    locales: Sequence[str] | None = None,
    num_languages: int = 5,
    preweight: str = "uriel",
    manual_weights: Mapping[str, float] | str | None = None,
    settings: TypologySettings | None = None,
    seed: int = 0,
) -> SourcePlan:
    """Selects the sources of a target and computes their weights.

    Args:
        target: the target locale.
        available: candidate sources; the target is ignored.
        locales: source locales in order, if given; they need not be among the `top_k` nearest. Manual weights define
            the sources, too.
        num_languages: number of sources to select otherwise, by similarity, among the `top_k` nearest locales.
        preweight: name of a weight source.
        manual_weights: weights for ``manual``, as a mapping or as ``"en-US=0.5,fr-FR=0.5"``.
        settings: settings of similarity and weighting.
        seed: random seed, for shuffled weights.

    Raises:
        UserError: an unknown locale, the target among its sources, a repeated or unavailable source, too few
            candidates, a locale that is missing in the matrix, invalid weights, or a setting out of range.
    """
    settings = settings or TypologySettings()
    if manual_weights and preweight != "manual":
        raise UserError(
            f"manual weights are given, but the weights asked for are '{preweight}': add --preweight manual"
        )
    if manual_weights and locales is None:
        locales = tuple(parse_weights(manual_weights))
    matrix = source_matrix(settings, (target, *available, *(locales or ())))
    for tag in (target, *(locales or ())):
        if settings.similarity_source == "dense" and tag not in matrix.locales:
            raise no_data(settings.feature_set, tag)
        matrix.index(tag)
    if locales is None:
        sources = nearest_sources(matrix, target, available, num_languages, settings.top_k)
    else:
        sources = _named(matrix, target, locales, available)
    typological = weighed(matrix, target, sources, settings)
    request = WeightRequest(target, sources, typological.weights, manual_weights, seed)
    uriel_weights = source_weights("uriel", request)
    return SourcePlan(
        target=target,
        sources=sources,
        similarities={tag: matrix.similarity(target, tag) for tag in sources},
        weights=source_weights(preweight, request),
        preweight=preweight,
        uriel_weights=uriel_weights,
        column_residual=typological.column_residual,
        without_data=tuple(sorted(set(available) - set(matrix.locales))),
        settings=settings,
        seed=seed,
    )


def _named(
    matrix: SimilarityMatrix, target: str, locales: Sequence[str], available: Collection[str]
) -> tuple[str, ...]:
    if not locales:
        raise UserError(f"no source locales are given for {target}")
    for position, tag in enumerate(locales):
        matrix.index(tag)
        if tag == target:
            raise UserError(f"the target {target} is among its sources: remove it")
        if tag in locales[:position]:
            raise UserError(f"the source {tag} is named twice")
    missing = [tag for tag in locales if tag not in available]
    if missing:
        raise UserError(
            f"no source model for {', '.join(missing)}; available: {', '.join(sorted(available)) or 'none'}"
        )
    return tuple(locales)


def reweighted(plan: SourcePlan, preweight: str, seed: int) -> dict[str, float]:
    """Computes the weights of the sources for another weight source, such as ``equal`` or ``shuffled``.

    Raises:
        UserError: an unknown weight source, or missing manual weights.
    """
    manual = plan.weights if plan.preweight == "manual" else None
    return source_weights(preweight, WeightRequest(plan.target, plan.sources, plan.uriel_weights, manual, seed))


def table_rows(plan: SourcePlan) -> list[tuple[str, str, float, float]]:
    """Returns tag, language, similarity and weight of each source, sorted by similarity."""
    order = sorted(plan.sources, key=lambda tag: -plan.similarities[tag])
    names = {tag: locale(tag).name if is_language(tag) else "" for tag in order}  # a file may have names of its own
    return [(tag, names[tag], plan.similarities[tag], plan.weights[tag]) for tag in order]


def table(plan: SourcePlan) -> str:
    """Formats the plan as text, with sources sorted by similarity."""
    settings = plan.settings
    if settings.similarity_source == "sparse":
        source = str(settings.similarity_matrix or DEFAULT_MATRIX_FILE)
    else:
        source = settings.feature_set
    name = f" ({locale(plan.target).name})" if is_language(plan.target) else ""
    rows = table_rows(plan)
    width = max(len("language"), *(len(language) for _, language, _, _ in rows))
    lines = [
        f"{plan.target}{name}: similarity by {source}, {plan.preweight} weights"
        + (f" ({describe(settings, plan.column_residual)})" if plan.preweight in TYPOLOGICAL else ""),
        f"  {'source':<7} {'language':<{width}}  similarity  weight",
        *(
            f"  {tag:<7} {language:<{width}}  {similarity:10.4f}  {weight:6.4f}"
            for tag, language, similarity, weight in rows
        ),
    ]
    if plan.without_data:
        lines.append(f"  not considered, as {source} has no data for them: {', '.join(plan.without_data)}")
    return "\n".join(lines)
