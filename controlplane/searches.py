"""Where searches lie in the artifact store, and which config belongs to which search."""

from __future__ import annotations

import hashlib
import json

from controlplane.lineage import training_code
from controlplane.storage import active_storage
from tuneline import paths
from tuneline.config import Config
from tuneline.config.candidate import searched
from tuneline.search.store import TrialStore


def search_key(config: Config) -> str:
    """Fingerprint of all that a trial's loss and the proposals depend on: config, data, base model, code, parameters.

    Not of how many trials there are to be and how many run at once: with more of them the search goes on.
    """
    search = searched(config).model_dump(mode="json", exclude={"trials", "parallel"})
    parts = (config.fingerprint(), json.dumps(search, sort_keys=True), training_code())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def open_search(name: str, key: str) -> TrialStore:
    """The trials of a search, in the active stack's artifact store."""
    storage = active_storage()
    return TrialStore(paths.search_folder(storage.uri, name, key), storage.options)


def waves(config: Config, store: TrialStore) -> list[list[int]]:
    """The numbers of the trials that have not ended, in groups that are proposed together."""
    ended = {trial.number for trial in store.trials() if trial.ended is not None}
    search = searched(config)
    left = [number for number in range(search.trials) if number not in ended]
    return [left[begin : begin + search.parallel] for begin in range(0, len(left), search.parallel)]
