"""From the config's ``data`` section to a training set and an evaluation set that share nothing."""

from __future__ import annotations

from tuneline.config.data import DataConfig, FeedbackSource, FileSource, Source, SyntheticSource
from tuneline.data.dataset import ChatDataset, combine
from tuneline.data.feedback import read_feedback
from tuneline.data.sources import read_file, read_hub, read_synthetic
from tuneline.data.split import check_leaks, remove_duplicates, split_holdout


def load_sets(data: DataConfig) -> tuple[ChatDataset, ChatDataset]:
    """Read all sources, convert, remove duplicates, split or read the evaluation set, and check for leaks.

    Returns:
        The training set (with everything that was quarantined) and the evaluation set.

    Raises:
        UserError: a source is missing, empty or mostly unreadable, or the sets share a prompt.
    """
    everything = combine([read_source(source, data.max_quarantined_share) for source in data.sources])
    if data.evaluation.sources is not None:
        training, _ = remove_duplicates(everything)
        evaluation = combine([read_source(source, data.max_quarantined_share) for source in data.evaluation.sources])
        evaluation, _ = remove_duplicates(evaluation)
    else:
        unique, _ = remove_duplicates(everything)
        size = data.evaluation.holdout_count(len(unique))
        holdout = split_holdout(unique, seed=data.evaluation.seed, size=size)
        training, evaluation = holdout.training, holdout.evaluation
    check_leaks(training, evaluation)
    return training, evaluation


def read_source(source: Source, max_quarantined: float) -> ChatDataset:
    """Read one source of a config.

    Args:
        source: the source.
        max_quarantined: largest share of rows that may be unusable, 0 to 1.

    Raises:
        UserError: it is missing, empty or mostly unreadable.
    """
    if isinstance(source, SyntheticSource):
        return read_synthetic(source.tools, source.size, seed=source.seed, split=source.split)
    if isinstance(source, FeedbackSource):
        return read_feedback(
            source.folder,
            corrections_only=source.corrections_only,
            limit=source.limit,
            max_quarantined=max_quarantined,
        )
    columns = {str(ours): theirs for ours, theirs in source.columns.items()}
    if isinstance(source, FileSource):
        return read_file(
            source.path,
            format=source.format,
            columns=columns,
            limit=source.limit,
            max_quarantined=max_quarantined,
        )
    return read_hub(
        source.dataset,
        split=source.split,
        subset=source.config,
        revision=source.revision,
        format=source.format,
        columns=columns,
        limit=source.limit,
        max_quarantined=max_quarantined,
    )
