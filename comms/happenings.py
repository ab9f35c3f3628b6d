"""What can happen to what: every kind of event there is. Who waits for another one would wait for ever.

Whatever is told of has its line here; the tests refuse an event that has none.
"""

import difflib
from collections.abc import Mapping

HAPPENINGS: Mapping[str, frozenset[str]] = {
    noun: frozenset(past.split())
    for noun, past in {
        "access_token": "created updated revoked",
        "agent": "created updated deleted",
        "agent_action_audit_log": "created",
        "agent_execution": "created cancelled completed failed started",
        "agent_log": "created",
        "agent_message": "created updated",
        "agent_pack": "created updated deleted installed published withdrawn",
        "agent_pending_action": "created approved expired performed rejected",
        "agent_policy": "created updated deleted",
        "agent_schedule": "created updated deleted",
        "agent_shared_memory": "created updated deleted expired",
        "agent_team": "created updated deleted",
        "agent_team_member": "created updated deleted",
        "agent_template": "created updated deleted installed published withdrawn",
        "agent_workflow": "created updated deleted stopped",
        "agent_workflow_execution": "created cancelled completed failed paused resumed started",
        "agent_workflow_host": "created updated deleted",
        "agent_workflow_step_run": "completed delayed failed skipped started waited",
        "attachment": "delayed failed refused stored",
        "automation_rule": "created updated deleted",
        "call": "created updated answered ended",
        "call_leg": "created updated",
        "call_offer": "created updated accepted expired withdrawn",
        "call_transfer": "created updated canceled completed",
        "campaign": "created updated deleted completed paused recipients_added resumed scheduled started unscheduled",
        "campaign_recipient": "created updated deleted",
        "chat_widget": "created updated deleted",
        "consent": "given withdrawn",
        "contact": "created updated deleted restored",
        "contact_import": "created deleted completed progressed started",
        "contact_merge": "created undone",
        "contact_point": "created updated deleted",
        "conversation": "created updated deleted archived assigned claimed closed fell_silent handed_on lease_expired"
        " marked_spam released reopened snoozed taken_over unanswered unassigned unmarked_spam unsnoozed woken",
        "conversation_handoff": "created updated accepted escalated expired rejected taken withdrawn",
        "conversation_participant": "created updated deleted",
        "customer": "created updated deleted",
        "deal": "created updated deleted closed reopened stage_changed",
        "expense": "created updated deleted approved reimbursed rejected",
        "interaction": "created updated deleted came_due",
        "invoice": "created updated deleted became_overdue cancelled paid payment_undone sent",
        "lead_routing_rule": "created updated deleted",
        "lead_scoring_rule": "created updated deleted",
        "mail_address": "created updated deleted",
        "marketing_channel": "created updated deleted",
        "message": "created updated deleted canceled failed queued received scheduled sent status_changed",
        "notification": "created updated deleted",
        "notification_preference": "created updated",
        "notification_read_state": "updated",
        "number_sweep": "completed",
        "opt_out_review": "created confirmed dismissed",
        "project": "created updated deleted",
        "prospect": "created updated deleted converted stage_changed",
        "push_subscription": "created updated deleted",
        "recording": "created updated paused resumed",
        "routing_decision": "created",
        "routing_place": "created updated deleted",
        "routing_profile": "created updated deleted",
        "routing_queue": "created updated",
        "routing_rule": "created updated deleted",
        "segment": "created updated deleted calculated",
        "session": "created updated deleted",
        "team": "created updated deleted",
        "team_channel": "created updated deleted closed",
        "team_channel_member": "created updated deleted",
        "team_channel_reading": "created updated",
        "team_member": "created deleted",
        "team_message": "created updated deleted pinned unpinned",
        "team_message_reaction": "created deleted",
        "team_thread_following": "created updated",
        "upload": "created deleted",
        "user": "password_changed updated",
        "visitor": "created updated",
        "visitor_session": "created updated revoked",
        "webhook_endpoint": "created updated deleted disabled",
        "webhook_replay": "created deleted",
        "webhook_signing_secret": "created deleted",
        "workspace": "updated",
        "workspace_api_key": "created updated deleted checked",
        "workspace_invitation": "created accepted mailed revoked",
        "workspace_member": "created updated deactivated reactivated",
        "workspace_phone_number": "created updated deleted",
    }.items()
}
"""By the noun an event is about: what can have become of it."""


def doubt(kind: str) -> str | None:
    """Why nothing of that kind (``deal.updated``, or ``deal.`` for all about deals) ever happens; None if it may."""
    noun, _, past = kind.partition(".")
    if noun not in HAPPENINGS:
        return f"nothing ever happens to {noun!r}{_perhaps(noun, HAPPENINGS)}"
    if past and past not in HAPPENINGS[noun]:
        near = _perhaps(past, HAPPENINGS[noun])
        return f"a {noun} is never {past!r}{near or ': it is ' + ', '.join(sorted(HAPPENINGS[noun]))}"
    return None


def _perhaps(word: str, words: Mapping[str, object] | frozenset[str]) -> str:
    near = difflib.get_close_matches(word, words, 1)
    return f": do you mean {near[0]!r}?" if near else ""
