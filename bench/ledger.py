"""What was kept, counted afterwards: every accepted request is exactly one message, one receipt and one event."""

from collections.abc import Sequence
from typing import Any

from bench.load import Outcome
from bench.stage import Town
from bench.webhooks import BLOCK, STATUSES, Batch


class Miscounted(Exception):
    """Rows are missing or too many: the figures mean nothing."""


async def check(admin: Any, town: Town, batch: Batch, outcome: Outcome) -> None:
    """Every accepted request of the batch left exactly its rows, and nothing else did; raises ``Miscounted``."""
    if outcome.refused:
        raise Miscounted(f"{batch.run}: {len(outcome.refused)} of {outcome.issued} requests were not answered 2xx")
    query = _MESSAGES if batch.kind == "messages" else _REPORTS
    row = await admin.fetchrow(query, town.ids, batch.run, outcome.issued)
    wrong = {name: count for name, count in row.items() if name != "rows" and count != outcome.issued}
    if wrong:
        raise Miscounted(f"{batch.run}: {outcome.issued} requests were accepted, and exactly once there are {wrong}")


async def check_storm(admin: Any, town: Town, batch: Batch, outcome: Outcome) -> None:
    """Every report of the batch is kept once, whatever their order, and every message is where the last one says.

    Nothing is told of a message after it was told to be delivered. Raises ``Miscounted``.
    """
    if outcome.refused:
        raise Miscounted(f"{batch.run}: {len(outcome.refused)} of {outcome.issued} requests were not answered 2xx")
    row = await admin.fetchrow(_STORM, town.ids, batch.run, batch.count)
    wrong = {name: count for name, count in row.items() if count != batch.count}
    if wrong:
        raise Miscounted(f"{batch.run}: {batch.count} reports were told, and exactly once there are {wrong}")


async def check_log(admin: Any, ids: Sequence[Any]) -> int:
    """The events of these workspaces are numbered from 1 without a gap, up to their counters; how many there are."""
    rows = await admin.fetch(_GAPS, ids)
    if rows[0]["broken"]:
        raise Miscounted(f"the event log of {rows[0]['broken']} workspaces has gaps")
    return int(rows[0]["events"])


# Of each accepted request: how many rows of each kind are its own. Counted is where that is exactly one.
_MESSAGES = """
WITH accepted AS (SELECT 'SM' || md5($2 || ':' || n) AS identity FROM generate_series(0, $3::int - 1) AS n),
message AS (
    SELECT identity, count(m.id) AS messages, min(m.id::text)::uuid AS id,
        min(m.workspace_id::text)::uuid AS workspace_id
    FROM accepted LEFT JOIN conversation_messages m
        ON m.workspace_id = ANY($1::uuid[]) AND m.provider = 'twilio' AND m.provider_message_id = identity
    GROUP BY identity
)
SELECT count(*) FILTER (WHERE messages = 1) AS messages,
    count(*) FILTER (WHERE 1 = (SELECT count(*) FROM webhook_receipts r
        WHERE r.workspace_id = ANY($1::uuid[]) AND r.kind = 'messages' AND r.identity = message.identity
            AND r.message_id = message.id AND r.state = 'processed')) AS receipts,
    count(*) FILTER (WHERE 1 = (SELECT count(*) FROM events e
        WHERE e.workspace_id = message.workspace_id AND e.subject_id = message.id
            AND e.event = 'message.received')) AS events
FROM message
"""

_REPORTED = f"""
WITH accepted AS (
    SELECT 'SM' || md5($2 || ':' || n / {BLOCK * len(STATUSES)} * {BLOCK} + n % {BLOCK}) AS identity,
        (ARRAY['{"', '".join(STATUSES)}'])[1 + n % {BLOCK * len(STATUSES)} / {BLOCK}] AS status
    FROM generate_series(0, $3::int - 1) AS n
),
report AS (
    SELECT accepted.*, m.id, m.workspace_id, m.status AS stands
    FROM accepted LEFT JOIN conversation_messages m
        ON m.workspace_id = ANY($1::uuid[]) AND m.provider = 'twilio' AND m.provider_message_id = identity
)
SELECT count(*) FILTER (WHERE 1 = (SELECT count(*) FROM delivery_reports d
        WHERE d.workspace_id = report.workspace_id AND d.provider = 'twilio'
            AND d.provider_message_id = report.identity AND d.reported = report.status
            AND d.message_id = report.id)) AS reports,
    count(*) FILTER (WHERE 1 = (SELECT count(*) FROM webhook_receipts r
        WHERE r.workspace_id = report.workspace_id AND r.kind = 'message-status'
            AND r.identity = report.identity || ':' || report.status AND r.message_id = report.id
            AND r.state = 'processed')) AS receipts,
"""

_REPORTS = f"""{_REPORTED}
    count(*) FILTER (WHERE stands = 'delivered' OR status = 'sent' AND stands = 'sent') AS moved,
    count(*) FILTER (WHERE 1 = (SELECT count(*) FROM events e
        WHERE e.workspace_id = report.workspace_id AND e.subject_id = report.id
            AND e.event = 'message.status_changed' AND e.data->>'status' = report.status)) AS events
FROM report
"""

_STORM = f"""{_REPORTED}
    count(*) FILTER (WHERE stands = 'delivered') AS moved,
    count(*) FILTER (WHERE 'delivered' = (SELECT CASE WHEN count(*) FILTER (WHERE e.data->>'status' = 'delivered') = 1
            AND count(*) <= 2 THEN (array_agg(e.data->>'status' ORDER BY e.seq DESC))[1] END FROM events e
        WHERE e.workspace_id = report.workspace_id AND e.subject_id = report.id
            AND e.event = 'message.status_changed')) AS events
FROM report
"""

_GAPS = """
SELECT sum(events) AS events, count(*) FILTER (WHERE events <> seq OR first <> 1 OR last <> seq) AS broken
FROM (
    SELECT c.seq, count(e.seq) AS events, coalesce(min(e.seq), 1) AS first, coalesce(max(e.seq), 0) AS last
    FROM event_counters c LEFT JOIN events e ON e.workspace_id = c.workspace_id
    WHERE c.workspace_id = ANY($1::uuid[]) GROUP BY c.workspace_id, c.seq
) AS logs
"""
