"""Who hears of what changes: `resources/subscribe` of the handshake era, `subscriptions/listen` of the later one.

A batch that became durable is looked at once, and only as far as somebody follows what is in it. Behind the writer one
task asks, for each who follows, whether they see the row now; what they are to hear waits in their own queue, where a
URI stands once however often it changed. So a client that reads slowly costs nobody else anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    event_to_notification,
)
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST

from server.looks import Looks
from server.news import LISTED, News, Topic
from server.resources import Resources, located
from server.session import Session
from storage.batch import Changes
from storage.row import Row
from storage.tables import Conversation, Event, Message, User

if TYPE_CHECKING:
    from server.service import Service

log = logging.getLogger(__name__)

MOST_URIS = 1_000
"""So many resources one client follows at a time."""
MOST_STREAMS = 10_000
"""So many clients, or streams of them, are told of changes."""
SHARE = 2.0
"""So many times as long as it worked the dispatcher rests: it takes a third of the loop at most."""
LONGEST_REST_SECONDS = 0.25
_CONNECTION_KEY = "one-mcp/subscriber"


class Subscriber:
    """One client, or one stream of a client, and what it has still to hear."""

    def __init__(self, session: Session, *, resources: bool, prompts: bool) -> None:
        self.session = session
        self.resources = resources
        self.prompts = prompts
        self.subscriptions: dict[str, Subscription] = {}
        self._waiting: dict[ServerEvent, None] = {}
        self._wake = asyncio.Event()

    def offer(self, event: ServerEvent) -> None:
        """Let it hear of something, once."""
        self._waiting[event] = None
        self._wake.set()

    def withdraw(self, event: ServerEvent) -> None:
        """Something is not for it any more."""
        self._waiting.pop(event, None)

    async def run(self, send: Callable[[ServerEvent], Awaitable[None]]) -> None:
        """Pass on what there is to hear, as fast as the client takes it, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                event = next(iter(self._waiting))
                del self._waiting[event]
                await send(event)


@dataclass(slots=True, eq=False)
class Subscription:
    """A resource that is followed. `seen`: the subscriber saw it when that was last asked."""

    subscriber: Subscriber
    uri: str
    topic: Topic | None
    seen: bool = True


class Subscriptions:
    """The handlers of the SDK server for subscriptions, and the dispatcher behind them."""

    def __init__(self, service: Service, resources: Resources) -> None:
        self._service = service
        self._resources = resources
        self._subscribers: set[Subscriber] = set()
        self._by_topic: dict[Topic, set[Subscription]] = {}
        self._news = News()
        self._dispatching: asyncio.Task[None] | None = None
        service.engine.store.listeners.append(self._hear)

    # -- the handshake era -------------------------------------------------------------------------------------------

    async def initialized(self, ctx: ServerRequestContext[Session, Any], _: types.NotificationParams) -> None:
        """A client has shaken hands: from now on it hears when lists change."""
        self._subscriber_of(ctx)

    async def subscribe(
        self, ctx: ServerRequestContext[Session, Any], params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        """Follow one resource."""
        uri = str(params.uri)
        await self._resources.check(ctx, uri)
        subscriber = self._subscriber_of(ctx)
        if subscriber is None:
            raise MCPError(code=INVALID_REQUEST, message="This connection has no way to hear of changes.")
        if uri not in subscriber.subscriptions and len(subscriber.subscriptions) >= MOST_URIS:
            text = f"{MOST_URIS:,} resources are followed already; resources/unsubscribe makes room."
            raise MCPError(code=INVALID_PARAMS, message=text)
        self._follow(subscriber, uri)
        return types.EmptyResult()

    async def unsubscribe(
        self, ctx: ServerRequestContext[Session, Any], params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Follow a resource no more."""
        subscriber = self._subscriber_of(ctx)
        followed = subscriber.subscriptions.pop(str(params.uri), None) if subscriber is not None else None
        if subscriber is not None and followed is not None:
            self._forget(followed)
            subscriber.withdraw(ResourceUpdated(followed.uri))
        return types.EmptyResult()

    def _subscriber_of(self, ctx: ServerRequestContext[Session, Any]) -> Subscriber | None:
        """The subscriber of a connection, made at its first need; None where nothing can be sent unasked."""
        connection: Connection = ctx.session._connection  # the SDK offers handlers no other way to it
        subscriber: Subscriber | None = connection.state.get(_CONNECTION_KEY)
        if subscriber is None and connection.has_standalone_channel and len(self._subscribers) < MOST_STREAMS:
            subscriber = Subscriber(self._service.session(ctx), resources=True, prompts=True)
            connection.state[_CONNECTION_KEY] = subscriber
            self._subscribers.add(subscriber)
            sending = asyncio.create_task(subscriber.run(partial(_notify, connection)))
            connection.exit_stack.callback(sending.cancel)
            connection.exit_stack.callback(self._remove, subscriber)
        return subscriber

    # -- the era without sessions ------------------------------------------------------------------------------------

    async def listen(
        self, ctx: ServerRequestContext[Session, Any], params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one stream until the client ends it. What the caller does not see, like what is not there, is left out
        of what is acknowledged.
        """
        wanted, request_id = params.notifications, ctx.request_id
        uris = list(dict.fromkeys(wanted.resource_subscriptions or ()))
        if request_id is None:
            raise MCPError(code=INVALID_REQUEST, message="subscriptions/listen needs a request id.")
        if len(uris) > MOST_URIS:
            raise MCPError(code=INVALID_PARAMS, message=f"At most {MOST_URIS:,} resources are followed by a stream.")
        if len(self._subscribers) >= MOST_STREAMS:
            raise MCPError(code=INTERNAL_ERROR, message="Too many streams are open; try again later.")
        session = self._service.session(ctx)
        subscriber = Subscriber(
            session,
            resources=bool(wanted.resources_list_changed),
            prompts=bool(wanted.prompts_list_changed),
        )
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: request_id}

        async def send(event: ServerEvent) -> None:
            await ctx.session.send_notification(event_to_notification(event, meta), related_request_id=request_id)

        self._subscribers.add(subscriber)
        try:
            # Followed first, asked then: what happens in between is heard.
            for uri in uris:
                if _is_resource(uri):
                    self._follow(subscriber, uri)
            await self._leave_out_unseen(subscriber)
            await ctx.session.send_notification(
                _acknowledgement(subscriber, wanted, meta), related_request_id=request_id
            )
            await subscriber.run(send)
        finally:
            self._remove(subscriber)
        return types.SubscriptionsListenResult(_meta=meta)

    async def _leave_out_unseen(self, subscriber: Subscriber) -> None:
        looks = Looks(self._service)
        for followed in list(subscriber.subscriptions.values()):
            sees_all = followed.topic is None and await looks.caller(subscriber.session) is not None
            if not sees_all and (followed.topic is None or not await looks.at(subscriber.session, followed.topic)):
                del subscriber.subscriptions[followed.uri]
                self._forget(followed)
                subscriber.withdraw(ResourceUpdated(followed.uri))

    # -- who follows what --------------------------------------------------------------------------------------------

    def _follow(self, subscriber: Subscriber, uri: str) -> None:
        if uri in subscriber.subscriptions:
            return
        declared, row_id = located(uri)
        topic = (declared.table, row_id) if declared.table is not None else None
        followed = subscriber.subscriptions[uri] = Subscription(subscriber, uri, topic)
        if topic is not None:
            self._by_topic.setdefault(topic, set()).add(followed)

    def _forget(self, followed: Subscription) -> None:
        if followed.topic is None:
            return
        followers = self._by_topic[followed.topic]
        followers.discard(followed)
        if not followers:
            del self._by_topic[followed.topic]

    def _remove(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        for followed in subscriber.subscriptions.values():
            self._forget(followed)
        subscriber.subscriptions.clear()

    def statistics(self) -> dict[str, int]:
        """How many hear of changes, and of how many resources."""
        return {"subscribers": len(self._subscribers), "followed": sum(map(len, self._by_topic.values()))}

    # -- from the writer to the queues -------------------------------------------------------------------------------

    def _hear(self, changes: Changes) -> None:
        """Note what a durable batch changes. On the writer's path: nothing is asked here."""
        if not self._subscribers:
            return
        if self._by_topic:
            self._news.follow_rows(changes)
        if not LISTED.isdisjoint(changes.rows):
            self._news.follow_lists(changes)
        if self._news and self._dispatching is None:
            self._dispatching = asyncio.create_task(self._dispatch())
            self._dispatching.add_done_callback(self._dispatched)

    def _dispatched(self, task: asyncio.Task[None]) -> None:
        self._dispatching = None
        if not task.cancelled() and task.exception() is not None:
            log.error("telling clients of changes failed", exc_info=task.exception())

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._news:
            news, self._news = self._news, News()
            began = loop.time()
            looks = Looks(self._service)
            await self._tell_followers(news, looks)
            await self._tell_lists(news, looks)
            await asyncio.sleep(min(SHARE * (loop.time() - began), LONGEST_REST_SECONDS))

    async def _tell_followers(self, news: News, looks: Looks) -> None:
        for message_id in news.messages:
            message = await looks.view.find_row(message_id, Message)
            if message is not None:
                news.topics[Conversation, message.conversation_id] = None
        for topic in list(self._by_topic) if news.everything else news.topics:
            if topic[1] and topic in self._by_topic:
                await self._tell_of_row(topic, looks)
        conversations = [row_id for table, row_id in news.topics if table is Conversation]
        for followed in self._followers(Conversation, "") if conversations or news.moved else ():
            self._tell_if(followed, await looks.concern(followed.subscriber.session, conversations, news.moved))
        for followed in self._followers(Event, "") if news.events or news.everything else ():
            session = followed.subscriber.session
            told = news.everything and await looks.caller(session) is not None
            self._tell_if(followed, told or await looks.see_any(session, news.events))
        for user_id in news.private:
            for followed in self._followers(User, user_id):
                me = await looks.caller(followed.subscriber.session)
                self._tell_if(followed, me is not None and (me.admin or me.id == user_id))

    def _followers(self, table: type[Row], row_id: str) -> list[Subscription]:
        return list(self._by_topic.get((table, row_id), ()))

    async def _tell_of_row(self, topic: Topic, looks: Looks) -> None:
        gone = await looks.view.find_row(topic[1], topic[0]) is None
        for followed in self._followers(*topic):
            session = followed.subscriber.session
            sees = await looks.at(session, topic)
            # Of its end those hear who saw it until then.
            if sees or (gone and followed.seen and await looks.caller(session) is not None):
                followed.subscriber.offer(ResourceUpdated(followed.uri))
            else:
                followed.subscriber.withdraw(ResourceUpdated(followed.uri))
            followed.seen = sees

    @staticmethod
    def _tell_if(followed: Subscription, concerned: bool) -> None:
        if concerned:
            followed.subscriber.offer(ResourceUpdated(followed.uri))

    async def _tell_lists(self, news: News, looks: Looks) -> None:
        if not (news.prompts or news.listed or news.moved):
            return
        for subscriber in list(self._subscribers):
            me = await looks.caller(subscriber.session)
            if me is None:
                continue
            if news.prompts and subscriber.prompts:
                subscriber.offer(PromptsListChanged())
            if subscriber.resources and (me.id in news.moved or await looks.see_any(subscriber.session, news.listed)):
                subscriber.offer(ResourcesListChanged())

    async def close(self) -> None:
        """Tell nobody any more."""
        if self._dispatching is not None:
            self._dispatching.cancel()
            await asyncio.gather(self._dispatching, return_exceptions=True)


def _is_resource(uri: str) -> bool:
    try:
        located(uri)
    except MCPError:
        return False
    return True


def _acknowledgement(
    subscriber: Subscriber, wanted: types.SubscriptionFilter, meta: dict[str, Any]
) -> types.SubscriptionsAcknowledgedNotification:
    # The tools change with the program only: a proxy tells that, when another hub has taken over.
    honored = types.SubscriptionFilter(
        tools_list_changed=wanted.tools_list_changed or None,
        prompts_list_changed=subscriber.prompts or None,
        resources_list_changed=subscriber.resources or None,
        resource_subscriptions=list(subscriber.subscriptions) or None,
    )
    params = types.SubscriptionsAcknowledgedNotificationParams(notifications=honored, _meta=meta)
    return types.SubscriptionsAcknowledgedNotification(params=params)


async def _notify(connection: Connection, event: ServerEvent) -> None:
    """Tell a client of the handshake era. Nothing is raised when it is gone."""
    match event:
        case ResourceUpdated():
            await connection.send_resource_updated(event.uri)
        case PromptsListChanged():
            await connection.send_prompt_list_changed()
        case _:
            await connection.send_resource_list_changed()
