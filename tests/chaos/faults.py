"""The faults of an exchange, drawn from a seed.

What a proxy may do to an answer has limits, because over plain HTTP nobody can detect some falsifications:

- A damaged body of Flower is detected by its SHA-1, the ETag. So a body may be damaged in any way.
- Nothing protects the headers. Noise there is at least 8 random bytes long, which break a Date or a status and do
  not make another valid one of it.
- Nothing protects a request's path or a pushed body. Requests are cut, held and dripped, but not damaged.
- An answer is never replaced by another good one: an old one from a cache, or a 200 for a push that was not done.

TLS (https://) protects against all of them except the last.
"""

import random
import re
from collections.abc import Callable
from dataclasses import replace

from tests.chaos.proxy import NO_FAULT, Fault, Mangle, Message, Plan, unchanged
from tests.fakes.http import Close, Drip, Endless, Reset, Script, Stall, Wait, answer, head, status_answer
from tests.metric_messages import ends

#: Probability of a fault in each exchange of a run. A scrape has many exchanges, a push has one or a few.
FLOWER_LIKELIHOODS = (0.0, 0.03, 0.03, 0.1, 0.1, 0.3, 0.6, 1.0)
GATEWAY_LIKELIHOODS = (0.0, 0.3, 0.6, 0.9)

#: In runs in which things go wrong at all, how likely a push that nothing else happens to ends at an end of a message.
ENDS_LIKELIHOOD = 0.5

#: A page of HTML, as a login page or a load balancer answers.
PAGE = b"<!DOCTYPE html><html><body>Please sign in.</body></html>"

Draw = Callable[[random.Random], Fault]


def flower_plan(seed: str) -> Plan:
    """Return the faults between the job and Flower."""
    return _plan(seed, FLOWER_LIKELIHOODS, [*EVERYWHERE, *DAMAGE, *DETOURS])


def gateway_plan(seed: str) -> Plan:
    """Return the faults between the job and the Pushgateway; no 200 is invented."""
    plan = _plan(seed, GATEWAY_LIKELIHOODS, [*EVERYWHERE, *DAMAGE])

    def exchange(number: int) -> Fault:
        # Another generator, so that the other faults of a seed stay the same.
        own = random.Random(f"{seed}/{number}/ends")
        fault = plan.exchange(number)
        return _cut_at_an_end(own) if fault is NO_FAULT and own.random() < ENDS_LIKELIHOOD else fault

    return replace(plan, exchange=exchange) if plan.likelihood else plan


def _plan(seed: str, likelihoods: tuple[float, ...], draws: list[Draw]) -> Plan:
    chance = random.Random(seed)
    likelihood = chance.choice(likelihoods)

    def exchange(number: int) -> Fault:
        own = random.Random(f"{seed}/{number}")
        return own.choice(draws)(own) if own.random() < likelihood else NO_FAULT

    def greeting(number: int) -> Script:
        own = random.Random(f"{seed}/connection {number}")
        if own.random() >= likelihood / 4:
            return ()
        return own.choice([(Reset(),), (Close(),), (Stall(),), (Wait(own.uniform(0.1, 2.0)),)])

    closed = chance.random() < likelihood / 4
    seconds = chance.uniform(0.1, 3.0)
    full = chance.random() < 0.5
    return Plan(
        exchange,
        greeting,
        refuses_for=seconds if closed and not full else 0.0,
        full_for=seconds if closed and full else 0.0,
        likelihood=likelihood,
    )


def _somewhere(chance: random.Random, message: Message) -> int:
    """Return a place in a message: in the head or in the body, often near an end."""
    low, high = chance.choice([(0, len(message.head)), (len(message.head), len(message.complete))])
    near_end = chance.random() < 0.2
    return max(0, high - chance.randrange(4)) if near_end else chance.randint(low, high)


def _cut_off(chance: random.Random) -> Fault:
    """Let either direction end, break, stop, pause or drip at some byte."""
    ways: dict[str, Callable[[bytes], Script]] = {
        "closed": lambda _: (Close(),),
        "reset": lambda _: (Reset(),),
        "stalled": lambda _: (Stall(),),
        "paused": lambda rest: (Wait(pause), rest),
        "dripped": lambda rest: (Drip(rest, 0.05, max(1, len(rest) // drops)),),
    }
    pause, drops = chance.uniform(0.05, 1.5), chance.choice([3, 10, 1000])
    name = chance.choice(list(ways))
    place = chance.random()

    def mangle(message: Message) -> Script:
        at = _somewhere(random.Random(place), message)
        return (message.complete[:at], *ways[name](message.complete[at:]))

    if chance.random() < 0.4:
        return Fault(f"request {name}", request=mangle)
    return Fault(f"answer {name}", answer=mangle)


def _cut_at_an_end(chance: random.Random) -> Fault:
    """Cut a push before its body, or after a line or message of it.

    At such a place, the part looks complete.
    """
    ways: dict[str, Script] = {"closed": (Close(),), "reset": (Reset(),), "stalled": (Stall(),)}
    name = chance.choice(list(ways))
    place = chance.random()

    def mangle(message: Message) -> Script:
        places = [0, *_ends(message)[:-1]]
        return (message.head + message.body[: places[int(place * len(places))]], *ways[name])

    return Fault(f"request {name} at an end", request=mangle)


def _ends(message: Message) -> list[int]:
    """Return the places where a line or a message of a pushed body ends."""
    if b"application/vnd.google.protobuf" in message.head:
        return ends(message.body)
    return [at + 1 for at, byte in enumerate(message.body) if byte == ord("\n")]


def _without_end(chance: random.Random) -> Fault:
    """Repeat something in an answer without end.

    The pauses are too short for a timeout of the socket.
    """
    ways: dict[str, Mangle] = {
        "with its head dripped": lambda m: (Drip(m.head, every=0.1), m.body),
        "after 100 Continue without end": lambda _: (Endless(head("100 Continue"), every=0.02),),
        "with the size of a chunk dripped": lambda m: (
            _with_coding(m.head, b"Transfer-Encoding: chunked"),
            Drip(b"1;" + b"x" * 1000, every=0.1),
        ),
        "with white space without end": lambda m: (
            _with_coding(m.head, b"Connection: close"),
            m.body[:-1],
            Endless(b" " * 1000, every=0.01),
        ),
    }
    name = chance.choice(list(ways))
    return Fault(f"answer {name}", answer=ways[name])


def _refused(chance: random.Random) -> Fault:
    """Return an error of the proxy.

    The proxy sends it without a request to the server, or instead of the server's answer.
    """
    status = chance.choice([502, 503, 504, 429, 500, 404])
    retry_after = chance.choice([None, None, "0", "1", "86400", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
    refusal = status_answer(status, PAGE, {"Retry-After": retry_after} if retry_after else None)
    name = f"{status}, Retry-After: {retry_after}"
    if chance.random() < 0.5:
        return Fault(f"{name}, server not asked", instead=refusal)
    return Fault(f"{name}, in place of the answer", answer=lambda _: refusal)


def _odd_but_complete(chance: random.Random) -> Fault:
    """Return an unusual answer that a client has to accept."""
    ways: dict[str, Mangle] = {
        "100 Continue before it": lambda m: (head("100 Continue") * 3, m.complete),
        "as HTTP/1.0": lambda m: (m.complete.replace(b"HTTP/1.1", b"HTTP/1.0", 1), Close()),
        "ended by closing": lambda m: (_with_coding(m.head, b"Connection: close"), m.body, Close()),
        "chunked": lambda m: (_chunked(m, random.Random(pieces)),),
    }
    pieces = chance.random()
    name = chance.choice(list(ways))
    return Fault(f"answer {name}", answer=ways[name])


def _noise(chance: random.Random) -> Fault:
    place, size = chance.random(), chance.choice([1, 2, 8, 64, 1000])
    in_body = chance.random() < 0.7

    def mangle(message: Message) -> Script:
        own = random.Random(place)
        part = bytearray(message.body if in_body else message.head)
        if not part:
            return unchanged(message)
        length = size if in_body else max(8, size)
        at = own.randrange(len(part))
        part[at : at + length] = own.randbytes(min(length, max(1, len(part) - at)) if in_body else length)
        return (message.head + part,) if in_body else (bytes(part) + message.body, Close())

    return Fault(f"{size} bytes of noise in the answer's {'body' if in_body else 'head'}", answer=mangle)


def _believable(chance: random.Random) -> Fault:
    """Return damage to the body that leaves it valid JSON of valid tasks."""
    patterns = {
        "a digit changed": (rb"(?<=\d)\d(?=\d)", b"7"),
        "a letter changed": (rb"(?<=[a-z])[a-z](?=[a-z])", b"q"),
        "a task lost": (rb'"[^"]*": \{"uuid".*?\}, (?=")', b""),
        "a state changed": (rb'"state": "[A-Z]+"', b'"state": "REVOKED"'),
    }
    place, way = chance.random(), chance.choice(list(patterns))
    pattern, replacement = patterns[way]

    def mangle(message: Message) -> Script:
        matches = list(re.finditer(pattern, message.body))
        if not matches:
            return unchanged(message)
        match = random.Random(place).choice(matches)
        body = message.body[: match.start()] + replacement + message.body[match.end() :]
        return (_with_length(message.head, len(body)) + body,)

    return Fault(f"answer with {way}", answer=mangle)


def _lost_or_doubled(chance: random.Random) -> Fault:
    """Remove or repeat a piece of the body, and correct the length."""
    place, size, doubled = chance.random(), chance.choice([1, 100, 5000]), chance.random() < 0.5

    def mangle(message: Message) -> Script:
        at = random.Random(place).randint(0, len(message.body))
        piece = message.body[at : at + size]
        body = message.body[:at] + piece * (2 if doubled else 0) + message.body[at + size :]
        return (_with_length(message.head, len(body)) + body,)

    return Fault(f"{size} bytes {'doubled' if doubled else 'lost'}, the length made to fit", answer=mangle)


def _truncated(chance: random.Random) -> Fault:
    """Cut off the end of a body, in an answer that looks complete.

    Its length fits the shorter body or is missing, or the answer is chunked.
    """
    place, way = chance.random(), chance.choice(["its length made to fit", "ended by closing", "chunked"])

    def mangle(message: Message) -> Script:
        kept = message.body[: random.Random(place).randint(0, len(message.body))]
        if way == "chunked":
            return (_chunked(Message(message.head, kept), random.Random(place)),)
        if way == "ended by closing":
            return (_with_coding(message.head, b"Connection: close"), kept, Close())
        return (_with_length(message.head, len(kept)) + kept,)

    return Fault(f"answer truncated, {way}", answer=mangle)


def _wrong_length(chance: random.Random) -> Fault:
    by = chance.choice([-1000, -1, 1, 1000, 10**9])

    def mangle(message: Message) -> Script:
        return (_with_length(message.head, max(0, len(message.body) + by)) + message.body,)

    return Fault(f"Content-Length wrong by {by}", answer=mangle)


def _broken_chunks(chance: random.Random) -> Fault:
    place = chance.random()

    def mangle(message: Message) -> Script:
        own = random.Random(place)
        encoded = _chunked(message, own)
        at = own.randint(len(encoded) - len(message.body) - 20, len(encoded))
        return own.choice([(encoded[:at], Close()), (encoded[:at] + b"zz" + encoded[at:], Close())])

    return Fault("chunked answer broken", answer=mangle)


def _longer_than_said(chance: random.Random) -> Fault:
    junk = chance.randbytes(chance.choice([1, 100]))
    return Fault("junk after the answer", answer=lambda message: (message.complete + junk,))


def _too_many_headers(_chance: random.Random) -> Fault:
    return Fault(
        "200 more headers", answer=lambda m: (m.head[:-2] + b"X-Padding: 1\r\n" * 200 + b"\r\n" + m.body, Close())
    )


def _web_page(_chance: random.Random) -> Fault:
    return Fault("a web page instead", instead=answer(PAGE, headers={"Content-Type": "text/html"}))


def _login(_chance: random.Random) -> Fault:
    return Fault("a redirect instead", instead=status_answer(302, PAGE, {"Location": "/login?next=%2Fapi"}))


EVERYWHERE: tuple[Draw, ...] = (_cut_off, _cut_off, _cut_off, _without_end, _refused, _odd_but_complete)
DAMAGE: tuple[Draw, ...] = (
    _noise,
    _believable,
    _lost_or_doubled,
    _truncated,
    _wrong_length,
    _broken_chunks,
    _longer_than_said,
    _too_many_headers,
)
DETOURS: tuple[Draw, ...] = (_web_page, _login)


def _with_length(message_head: bytes, length: int) -> bytes:
    return re.sub(rb"(?i)(content-length:)[^\r]*", rb"\1 %d" % length, message_head)


def _with_coding(message_head: bytes, instead_of_length: bytes) -> bytes:
    return re.sub(rb"(?i)content-length:[^\r]*", instead_of_length, message_head)


def _chunked(message: Message, chance: random.Random) -> bytes:
    """Return the answer in chunks of any size."""
    encoded = _with_coding(message.head, b"Transfer-Encoding: chunked")
    body = message.body
    while body:
        size = min(len(body), chance.choice([1, 10, 1000, 100_000]))
        encoded += b"%x\r\n%b\r\n" % (size, body[:size])
        body = body[size:]
    return encoded + b"0\r\n\r\n"
