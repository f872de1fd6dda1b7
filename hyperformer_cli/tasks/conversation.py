"""Conversations: rows of messages in the form that chat templates take, of which the last one is the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from hyperformer_cli.errors import InputError

ROLES = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """The messages before the one that is to be written; the last is the user's.

    As text, for models without a chat template, it is one line per message: `user: How are you?`.
    """

    messages: tuple[Message, ...]

    def __str__(self) -> str:
        return "\n".join(f"{message['role']}: {message['content']}" for message in self.messages)

    @classmethod
    def of(cls, text: "str | Conversation") -> "Conversation":
        """A text as the user's only turn."""
        return text if isinstance(text, Conversation) else cls(({"role": "user", "content": text},))


def split_messages(value: Any, column: str) -> tuple[Conversation, str | None]:
    """A row's messages: those up to the user's last turn, and the assistant's answer to it (None if there is none).

    Raises:
        InputError: not a list of messages, an unknown role, a text that is none, or turns out of order.
    """
    messages = [_message(one, column) for one in value] if isinstance(value, Sequence) else []
    if isinstance(value, str) or not messages:
        raise InputError(f"column '{column}' is not a list of messages with role and content")
    answer = messages.pop()["content"] if messages[-1]["role"] == "assistant" else None
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or turns != (["user", "assistant"] * len(turns))[: len(turns)] or turns[-1] != "user":
        raise InputError(f"column '{column}': messages must be the user's and the assistant's in turn")
    return Conversation(tuple(messages)), answer


def _message(value: Any, column: str) -> Message:
    role, content = (value.get("role"), value.get("content")) if isinstance(value, Mapping) else (None, None)
    if role not in ROLES or not isinstance(content, str):
        raise InputError(f"column '{column}': {value!r} is not a message with role ({', '.join(ROLES)}) and content")
    return {"role": role, "content": content}
