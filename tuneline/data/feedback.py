"""What users said of an endpoint's answers, as training data.

A line is trained on if it has a conversation, which the gateway writes where the answer was corrected or called good
(see ``serving.gateway.feedback``); the others are for people, and are passed over.
"""

from __future__ import annotations

import json
from typing import Any

from tuneline.data.convert import NotConvertible, convert_row
from tuneline.data.dataset import ChatDataset, Quarantined
from tuneline.data.feedback_files import feedback_files, unreadable
from tuneline.data.records import ChatRecord
from tuneline.data.sources import MAX_QUARANTINED, check_share, excerpt
from tuneline.errors import UserError


def read_feedback(
    folder: str, *, corrections_only: bool = False, limit: int | None = None, max_quarantined: float = MAX_QUARANTINED
) -> ChatDataset:
    """Read the feedback of an endpoint. Of several about one answer, the last one counts.

    Args:
        folder: path or URI of the endpoint's folder.
        corrections_only: leave out answers that were only called good.
        limit: keep at most this many records, the newest.
        max_quarantined: largest share of lines that may be unusable, 0 to 1.

    Raises:
        UserError: the folder cannot be read, has no feedback that can be trained on, or too much that is unusable.
    """
    fs, files = feedback_files(folder)
    try:
        lines = [(file, number, text) for file in files for number, text in _lines(fs.cat_file(file))]
    except Exception as error:  # storage clients raise what they like
        raise unreadable(folder, error) from error
    records: dict[str, ChatRecord | None] = {}  # by the answer they are about, in the order of their last feedback
    quarantined: list[Quarantined] = []
    for file, number, text in lines:
        try:
            row = _object(text)
            about = str(row.get("request_id"))
            records.pop(about, None)
            records[about] = _record(row, corrections_only)
        except NotConvertible as error:
            quarantined.append(Quarantined(file=file, line=number, reason=str(error), excerpt=excerpt(text)))
    kept = [record for record in records.values() if record is not None]
    if quarantined:
        check_share(quarantined, len(lines), folder, "chat", max_quarantined)
    if not kept:
        wanted = "corrected answer" if corrections_only else "corrected answer, or one that was called good,"
        raise UserError(
            f"{folder} has no feedback to train on: of {len(lines)} ratings none is of a {wanted} with its messages.",
            hint="Send `messages` with POST /v1/feedback, and `correction` or the rating `up`.",
        )
    return ChatDataset(records=kept[-limit:] if limit is not None else kept, quarantined=quarantined)


def _lines(data: bytes) -> list[tuple[int, str]]:
    # Not splitlines(): JSON leaves U+2028 and its kin as they are.
    return [(number, text) for number, text in enumerate(data.decode("utf-8", "replace").split("\n"), 1) if text]


def _object(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise NotConvertible(f"the line is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise NotConvertible("the line is not an object")
    return row


def _record(row: dict[str, Any], corrections_only: bool) -> ChatRecord | None:
    if "messages" not in row or (corrections_only and not row.get("corrected")):
        return None
    found = convert_row(row, "chat")
    return ChatRecord(id=found.id or "", source=found.source or "", messages=found.messages, tools=found.tools)
