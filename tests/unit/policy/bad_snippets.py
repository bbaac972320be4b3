"""Every fault that a policy's text can have: where the caret stands, and what is said.

`§` marks the caret. What a row lacks of a policy is added below it (`tests.support.policy_text`),
so its lines count as they stand. Contradictions are in `bad_meaning`.
"""

from typing import NamedTuple

from tests.support.policy_text import whole


class Bad(NamedTuple):
    """A snippet, its only fault, and words of the message."""

    code: str
    text: str
    words: str
    nearest: str = ""

    @property
    def policy(self) -> str:
        """The text, completed unless it is about a file without a policy; its mark still in it."""
        return self.text if self.code == "empty" else whole(self.text)


LONG = "x" * 1025

NOTATION = (
    Bad("empty", "§# nothing but a remark", "`ratelimitd init` prints one"),
    Bad("bad-yaml", "tiers: {free: {requests: 1/hour}\n§domain: d", "close the table with `}`"),
    Bad("bad-yaml", "domain: a§: b", "put quotes around text"),
    Bad("bad-yaml", "domain: §`d`", "put quotes around text that begins so"),
    Bad("bad-yaml", "domain: d\n  tiers§: {}", "mind the indentation"),
    Bad("bad-yaml", "headers:\n  report: x\n §overrides: true", "indent this line"),
    Bad("bad-yaml", "domain: d§\x07", "remove the invisible character"),
    Bad("tab", "tiers:\n§\tfree: {}", "replace the tab"),
    Bad(
        "many-documents",
        "domain: d\nsubject: {default_tier: a}\ntiers: {a: {}}\n§---\nexempt: []",
        "a file of its own",
    ),
    Bad("duplicate-key", "overrides: true\n§overrides: false", "stands twice"),
    Bad("duplicate-key", "tiers: {free: {requests: 1/hour, §requests: 2/hour}}", "stands twice"),
    Bad("bad-key", "meters: {§[a]: prepaid}", "one word"),
    Bad("bad-tag", "domain: §!secret d", "`!secret` means nothing"),
    Bad("bad-alias", "exempt: §*rules", "No `&rules` ends before"),
    Bad("bad-alias", "exempt: &rules [§*rules]", "No `&rules` ends before"),
    Bad("merge-key", "tiers: {free: &f {requests: 1/hour}, pro: {§<<: *f}}", "no merge keys"),
    Bad("too-deep", "exempt: " + "[" * 32 + "§[" + "]" * 33, "32 levels"),
    Bad(
        "alias-bomb",
        "a: &a [" + "x, " * 400 + "]\nb: &b [" + "*a, " * 200 + "]\nc: [§*b]",
        "over 100,000 values",
    ),
)

SHAPE = (
    Bad("unknown-key", "§exemptions: []", "means nothing here", "exempt"),
    Bad("unknown-key", "§default_tier: free", "it stands below `subject`"),
    Bad("unknown-key", "subject: {default_tier: free, §schema: bearer}", "spelling", "scheme"),
    Bad("unknown-key", "headers: {§family: [ietf]}", "spelling", "families"),
    Bad(
        "unknown-key",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, §brust: 2}]}}",
        "spelling",
        "burst",
    ),
    Bad("unknown-key", "meters: {gpu: {lease: 1m, §leese: 2m}}", "has `lease` only", "lease"),
    Bad("missing-key", "subject: §{scheme: bearer}", "`default_tier` is missing"),
    Bad("missing-key", "tiers: {free: {limits: [§{rate: 1/hour}]}}", "`meter` is missing"),
    Bad("missing-key", "keys: [§{key: k}]", "`tier` is missing"),
    Bad("unknown-key", "meters: {gpu: {kind: prepaid, §on_expire: keep}}", "`kind`", "on_expiry"),
    Bad("unknown-key", "meters: {gpu: {lease: 1m, §kind: prepaid}}", "has `lease` only"),
    Bad("missing-key", "meters: {gpu: §{}}", "for how long"),
    Bad("missing-key", "meters: {gpu: §{reservation: 1m}}", "`kind: postpaid`"),
    Bad("missing-key", "tiers: {free: {requests: §[]}}", "write a rate"),
    Bad("wrong-type", "domain: §[d]", "This is a list; text belongs here"),
    Bad("wrong-type", "domain:§", "This is nothing"),
    Bad("wrong-type", "tiers: {free: §12}", "This is a number; a table belongs here"),
    Bad("wrong-type", "keys: §{key: k, tier: free}", "This is a table; a list belongs here"),
    Bad("wrong-type", "overrides: §yes", "true or false belongs here", "true"),
    Bad("wrong-type", "overrides: §'true'", "This is text"),
    Bad("wrong-type", "tiers: {free: {requests: §{rate: 1/hour}}}", "a rate as `100/hour`"),
    Bad("wrong-type", "keys: [{key: k, tier: free, limits: §5/hour}]", "a list of limits"),
    Bad("wrong-type", "keys: [{key: k, tier: free, org: §[acme]}]", "text belongs here"),
    Bad("wrong-type", "keys: [{key: k, tier: free, billing_day: §'3'}]", "a day of the month"),
    Bad("wrong-type", "meters: {gpu: {lease: §[1m]}}", "a length of time"),
    Bad("unknown-value", "on_store_failure: §locl", "`deny`, `error`", "local"),
    Bad("unknown-value", "headers: {families: [§xratelimit]}", "choose among", "x-ratelimit"),
    Bad("unknown-value", "meters: {gpu: §prepayed}", "`postpaid`", "prepaid"),
    Bad("unknown-value", "meters: {gpu: §lease}", "`{lease: 15m}`"),
    Bad("unknown-value", "meters: {gpu: {kind: §lease, reservation: 1m}}", "`postpaid`"),
    Bad("unknown-value", "meters: {gpu: {kind: prepaid, on_expiry: §releas}}", "", "release"),
    Bad(
        "unknown-value",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, algorithm: §sliding}]}}",
        "choose among",
        "sliding_window",
    ),
    Bad("bad-name", "domain: §two words", "without spaces"),
    Bad("bad-name", "subject: {default_tier: free, scheme: §'bearer '}", "one word"),
    Bad("bad-name", "tiers: {free: {}, §über: {}}", "letters, digits"),
    Bad("bad-name", "meters: {§'': prepaid}", "letters, digits"),
    Bad("bad-name", "subject: {default_tier: free, entry: §''}", "has a name"),
    Bad(
        "bad-name",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, name: §'a\"b'}]}}",
        "printable ASCII",
    ),
    Bad("bad-rate", "tiers: {free: {requests: §100 per minute}}", "AMOUNT/WINDOW", "100/minute"),
    Bad("bad-rate", "tiers: {free: {requests: §100 / hour}}", "no spaces", "100/hour"),
    Bad("bad-amount", "tiers: {free: {requests: §-1/hour}}", "a whole number from 0"),
    Bad("bad-amount", "tiers:\n  free:\n    requests: §1,000/hour", "`1,000` is no", "1_000"),
    Bad("bad-amount", "tiers: {free: {concurrent: §1.5}}", "a whole number from 0"),
    Bad("bad-amount", "tiers: {free: {requests: §10K/hour}}", "no amount", "10k"),
    Bad(
        "bad-amount",
        "tiers: {free: {limits: [{meter: concurrent, amount: §2/hour}]}}",
        "a window goes with `rate`",
    ),
    Bad("bad-window", "tiers: {free: {requests: [100/§huor]}}", "no window", "hour"),
    Bad("bad-window", "tiers: {free: {requests: 100/§h}}", "no window", "hour"),
    Bad("bad-window", "tiers: {free: {requests: '100/§minutes'}}", "no window", "minute"),
    Bad("bad-window", "tiers: {free: {requests: 100/§0s}}", "from 1s to 366d"),
    Bad("bad-window", "tiers: {free: {requests: 100/§400d}}", "from 1s to 366d"),
    Bad("bad-duration", "meters: {gpu: {lease: §15}}", "s, m, h or d", "15s"),
    Bad("bad-duration", "meters: {gpu: {lease: §2d}}", "from 1s to 1d"),
    Bad("bad-duration", "meters: {gpu: {kind: prepaid, reservation: §2d}}", "A reservation lasts"),
    Bad("wrong-type", "meters: {gpu: {kind: prepaid, reservation: §[1m]}}", "a length of time"),
    Bad("bad-number", "keys: [{key: k, tier: free, billing_day: §32}]", "1 to 31"),
    Bad("bad-number", "keys: [{key: k, tier: free, billing_day: §0}]", "1 to 31"),
    Bad("bad-key-hash", "keys: [{key_hash: §12ab, tier: free}]", "32 hexadecimal"),
    Bad("too-long", f"keys: [{{key: k, tier: free, org: §{LONG}}}]", "1024 bytes"),
)
