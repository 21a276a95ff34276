"""The way from a target to its sources and their weights: what `fit`, `merge`, `ensemble` and `similarity` ask."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mu_lightning.locales import is_language, locale
from mu_lightning.settings import TypologySettings
from mu_lightning.typology.features import locales_with_data, no_data
from mu_lightning.typology.selection import nearest_sources
from mu_lightning.typology.similarity import SimilarityMatrix, from_features, read_csv
from mu_lightning.typology.sinkhorn import normalize
from mu_lightning.typology.weights import WeightRequest, parse_weights, source_weights
from mu_lightning.utilities.errors import UserError, unknown

DEFAULT_MATRIX_FILE = Path("language_similarity_matrix_unified.csv")


@dataclass(frozen=True)
class SourcePlan:
    """A target's sources and what each weighs.

    Attributes:
        target: the locale that the sources are for.
        sources: in the order given, or the most similar first where they were chosen.
        similarities: the target's raw similarity to each source.
        weights: each source's merge weight, summing to 1.
        preweight: the weight source that gave them.
        uriel_weights: the weights that typology gives, whatever `preweight` is.
        column_residual: the largest distance of a column's sum from 1 in the normalized matrix.
        without_data: available locales that could not be considered, as the matrix has no row for them.
        settings: how the similarities came about.
        seed: what was left to chance.
    """

    target: str
    sources: tuple[str, ...]
    similarities: dict[str, float]
    weights: dict[str, float]
    preweight: str
    uriel_weights: dict[str, float]
    column_residual: float
    without_data: tuple[str, ...]
    settings: TypologySettings
    seed: int

    def details(self) -> dict[str, Any]:
        """The plan as plain values, for JSON and for a checkpoint."""
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
        UserError: the file is missing or broken, a feature set is unknown, or a file is named that would not be read.
    """
    if settings.similarity_source == "dense":
        if settings.similarity_matrix is not None:
            raise UserError(
                f"the similarity matrix {settings.similarity_matrix} is read with --similarity-source sparse only; "
                f"add that, or leave the file out"
            )
        return from_features(settings.feature_set, locales_with_data(settings.feature_set, more))
    if settings.similarity_source != "sparse":
        raise unknown("similarity source", settings.similarity_source, ("dense", "sparse"))
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
    """Chooses a target's sources and weighs them.

    Args:
        target: the locale that the sources are for.
        available: the locales that can be sources; the target among them is passed over.
        locales: the sources, in order, where they are named; they are kept whether or not they are among the target's
            `top_k` nearest. Manual weights name the sources too.
        num_languages: otherwise so many available locales are taken, the most similar first, from among the `top_k`
            nearest of all.
        preweight: a registered weight source.
        manual_weights: the weights of ``manual``, as a mapping or as ``"en-US=0.5,fr-FR=0.5"``.
        settings: how similarities become weights.
        seed: what is left to chance.

    Raises:
        UserError: an unknown locale, the target among its own sources, a source named twice or not available, more
            sources asked than exist, a matrix without a locale's row, weights that do not fit, or a setting out of
            range.
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
    normal = normalize(matrix, settings.top_k, settings.sinkhorn_iters, settings.temperature, keep={target: sources})
    row = normal.values[matrix.index(target)]
    uriel = {tag: float(row[matrix.index(tag)]) for tag in sources}
    if not any(uriel.values()):
        raise UserError(
            f"the typological weights of {', '.join(sources)} for {target} are all 0 at temperature "
            f"{settings.temperature:g}: raise it or choose other sources"
        )
    request = WeightRequest(target, sources, uriel, manual_weights, seed)
    uriel_weights = source_weights("uriel", request)
    return SourcePlan(
        target=target,
        sources=sources,
        similarities={tag: matrix.similarity(target, tag) for tag in sources},
        weights=source_weights(preweight, request),
        preweight=preweight,
        uriel_weights=uriel_weights,
        column_residual=normal.column_residual,
        without_data=tuple(sorted(set(available) - set(matrix.locales))),
        settings=settings,
        seed=seed,
    )


def _named(
    matrix: SimilarityMatrix, target: str, locales: Sequence[str], available: Collection[str]
) -> tuple[str, ...]:
    if not locales:
        raise UserError(f"no source locales are named for {target}")
    for position, tag in enumerate(locales):
        matrix.index(tag)
        if tag == target:
            raise UserError(f"the target {target} is among its own sources: leave it out of the sources")
        if tag in locales[:position]:
            raise UserError(f"the source {tag} is named twice")
    missing = [tag for tag in locales if tag not in available]
    if missing:
        raise UserError(
            f"no source model for {', '.join(missing)}; available: {', '.join(sorted(available)) or 'none'}"
        )
    return tuple(locales)


def reweighted(plan: SourcePlan, preweight: str, seed: int) -> dict[str, float]:
    """The weights of the plan's sources under another weight source, such as the controls ``equal`` and ``shuffled``.

    Raises:
        UserError: an unknown weight source, or manual weights that the plan does not have.
    """
    manual = plan.weights if plan.preweight == "manual" else None
    return source_weights(preweight, WeightRequest(plan.target, plan.sources, plan.uriel_weights, manual, seed))


def table_rows(plan: SourcePlan) -> list[tuple[str, str, float, float]]:
    """Tag, language, similarity and weight of each source, the most similar first."""
    order = sorted(plan.sources, key=lambda tag: -plan.similarities[tag])
    names = {tag: locale(tag).name if is_language(tag) else "" for tag in order}  # a file may have names of its own
    return [(tag, names[tag], plan.similarities[tag], plan.weights[tag]) for tag in order]


def table(plan: SourcePlan) -> str:
    """The plan for reading: a line of what it is, and its sources in aligned columns, the most similar first."""
    settings = plan.settings
    if settings.similarity_source == "sparse":
        source = str(settings.similarity_matrix or DEFAULT_MATRIX_FILE)
    else:
        source = settings.feature_set
    name = f" ({locale(plan.target).name})" if is_language(plan.target) else ""
    rows = table_rows(plan)
    width = max(len("language"), *(len(language) for _, language, _, _ in rows))
    lines = [
        f"{plan.target}{name}: similarity by {source}, {plan.preweight} weights (top-k {settings.top_k}, "
        f"{settings.sinkhorn_iters} Sinkhorn rounds, temperature {settings.temperature:g}; "
        f"column residual {plan.column_residual:.1e})",
        f"  {'source':<7} {'language':<{width}}  similarity  weight",
        *(
            f"  {tag:<7} {language:<{width}}  {similarity:10.4f}  {weight:6.4f}"
            for tag, language, similarity, weight in rows
        ),
    ]
    if plan.without_data:
        lines.append(f"  not considered, as {source} has no data for them: {', '.join(plan.without_data)}")
    return "\n".join(lines)
