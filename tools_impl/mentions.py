"""What a mention does: whoever is mentioned takes part from then on."""

from __future__ import annotations

from storage.errors import DomainError
from storage.mentions import Mention, mentions
from storage.tables import Conversation, Message, Participant
from storage.transaction import Transaction
from tools_impl.authors import member_name
from tools_impl.caller import Caller
from tools_impl.conversations import add_participant
from tools_impl.shared import participant_for
from tools_impl.transcripts import named, plain

MOST_ADDED = 50
"""So many are brought in by one message at most; further mentions do nothing."""


async def add_mentioned(
    tx: Transaction, me: Caller, conversation: Conversation, author: Participant, content: str
) -> None:
    """Stage the participants that a message brings in, and a message of kind system that says so.

    Who does not exist, is hidden or deactivated, or may not be added is left out without a word.
    """
    added = []
    for mention in mentions(content)[:MOST_ADDED]:
        participant = await _added(tx, me, conversation, mention)
        if participant is not None:
            added.append(f"{plain(await member_name(tx, participant))} ({named(participant.member_id)})")
    if added:
        tx.insert(
            Message,
            conversation_id=conversation.id,
            author_participant_id=author.id,
            kind="system",
            status="sent",
            content=f"{plain(await member_name(tx, author))} added {', '.join(added)}.",
        )


async def _added(tx: Transaction, me: Caller, conversation: Conversation, mention: Mention) -> Participant | None:
    kind, member_id = mention
    present = await participant_for(tx, conversation.id, member_id)
    if present is not None and not present.is_removed:
        return None
    try:
        if kind == "user":
            return await add_participant(tx, me, conversation.id, "user", user_id=member_id)
        return await add_participant(tx, me, conversation.id, "agent", agent_id=member_id)
    except DomainError:
        return None  # a mention tells nothing of what there is
