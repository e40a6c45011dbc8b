"""What can go wrong on the way to a Redis, by what is known of the command: not done, maybe done, or refused.

The ports above turn these into their own errors; the text is made for users, and holds no secret.
"""

import re

WAIT_AND_SEE = frozenset(("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY"))
"""Refusals that end by themselves: the command was not executed, and may be sent again soon."""


class RedisError(Exception):
    """Any of them."""


class NotReached(RedisError):
    """The command did not get to the server: nothing was done."""


class Unusable(NotReached):
    """No server was asked: the URL itself names what cannot be used."""


class ReplyLost(RedisError):
    """The command was sent and its reply did not come: it may have been done, or not."""


class Refused(RedisError):
    """The server answered with an error, ``answer``; its first word is ``code`` (OOM, NOPERM). Nothing was done."""

    def __init__(self, text: str, code: str, answer: str) -> None:
        super().__init__(text)
        self.code = code
        self.answer = answer


def refused(answer: str, shown: str) -> Refused:
    """The server's answer as an error in our words."""
    code = code_of(answer)
    text = _MEANINGS.get(code, "{shown} refused a command: {answer}")
    return Refused(text.format(shown=shown, answer=answer), code, answer)


def code_of(answer: str) -> str:
    """``OOM`` of "OOM command not allowed ..."; Redis 6 hides it inside of the error of a script."""
    code = answer.partition(" ")[0]
    if code == "ERR":
        if "max number of clients" in answer:
            return "MAXCLIENTS"
        if "user executing the script" in answer or "ACL failure in script" in answer:
            return "NOPERM"
        hidden = _IN_SCRIPT.search(answer)
        return hidden[1] if hidden else code
    return code


_IN_SCRIPT = re.compile(r"user_script: ?\d+: -([A-Z]{3,})\b")
_MEANINGS = {
    "WRONGPASS": "{shown} does not know this user or password; correct them in the URL (a % in them is written %25)",
    "NOAUTH": "{shown} wants a password; write redis://user:password@host or redis://:password@host",
    "NOPERM": "{shown}: this user may not do that ({answer}); howto/secure_redis says what it must be allowed",
    "OOM": "{shown} has used up its memory (maxmemory); make room, or raise it with CONFIG SET maxmemory",
    "MAXCLIENTS": "{shown} has no connection left (maxclients); raise it, or end what holds so many",
    "READONLY": "{shown} is a replica and takes no writes; name the primary, or use sentinel:// to have it found",
    "LOADING": "{shown} is still loading its data; it answers when that is done",
    "MASTERDOWN": "{shown} is a replica that has lost its primary",
    "CLUSTERDOWN": "the cluster at {shown} is down ({answer}); see CLUSTER INFO on its nodes",
    "BUSY": "{shown} is busy with somebody's script; see SLOWLOG, or SCRIPT KILL",
    "MISCONF": "{shown} cannot save its data and takes no writes ({answer}); see its log, and the space on its disk",
    "NOREPLICAS": "{shown} has too few replicas to accept a write (min-replicas-to-write); bring them back",
    "WRONGTYPE": "{shown}: a key of TaskBus holds something else; use a ?prefix= of your own ({answer})",
}
