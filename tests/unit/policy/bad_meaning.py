"""Contradictions that a policy's text can have, each the only fault of its snippet.

See `bad_snippets` for how a row is written.
"""

from tests.unit.policy.bad_snippets import LONG, Bad

RULES = (
    Bad("unknown-meter", "tiers: {free: {§request: 1/hour}}", "no meter", "requests"),
    Bad("unknown-meter", "tiers: {free: {limits: [{meter: §gpu, rate: 1/hour}]}}", "`meters`"),
    Bad("unknown-meter", "keys: [{key: k, tier: free, limits: {§tokes: 1/hour}}]", "", "tokens"),
    Bad("unknown-tier", "subject: {default_tier: §fre}", "no tier", "free"),
    Bad("unknown-tier", "subject: {default_tier: §dney}", "no tier", "deny"),
    Bad("unknown-tier", "subject: {default_tier: §allow}", "no tier"),
    Bad("unknown-tier", "subject: {default_tier: free, missing: §alow}", "no tier"),
    Bad("unknown-tier", "keys: [{key: k, tier: §Free}]", "no tier", "free"),
    Bad("unknown-limit", "headers: {report: §requests/day}", "no tier's", "requests/hour"),
    Bad(
        "unknown-limit",
        "headers: {report: §try}\n"
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, name: try, shadow: true}]}}",
        "a shadow limit",
    ),
    Bad("reserved-name", "meters: {§limits: prepaid}", "another name"),
    Bad("reserved-name", "tiers: {free: {}, §deny: {}}", "no tier at all"),
    Bad("reserved-name", "keys: [{key: k, tier: free, §phase: x}]", "rename the attribute"),
    Bad("reserved-name", "keys: [{key: k, tier: free, §api_key: x}]", "rename the attribute"),
    Bad("needs-window", "tiers: {free: {requests: §100}}", "counted in windows", "100/hour"),
    Bad("needs-window", "tiers: {free: {limits: [{meter: requests, rate: §5}]}}", "has a window"),
    Bad(
        "needs-window",
        "tiers: {free: {limits: [{meter: tokens, amount: §5}]}}",
        "windows",
        "5/hour",
    ),
    Bad(
        "needs-window",
        "tiers: {free: {requests: [§5,000/hour, 500/minute]}}",
        "counted in windows",
        "5_000/hour",
    ),
    Bad("needs-amount", "tiers: {free: {concurrent: §2/hour}}", "is held", "2"),
    Bad("rate-or-amount", "tiers: {free: {limits: [{meter: §requests}]}}", "one of the two"),
    Bad(
        "rate-or-amount",
        "tiers: {free: {limits: [{meter: §requests, rate: 1/hour, amount: 2}]}}",
        "not both",
    ),
    Bad(
        "bad-algorithm",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, algorithm: §lease}]}}",
        "cannot be counted so",
    ),
    Bad(
        "bad-algorithm",
        "tiers: {free: {limits: [{meter: concurrent, amount: 1, algorithm: §fixed_window}]}}",
        "cannot be counted so",
    ),
    Bad(
        "bad-algorithm",
        "tiers: {free: {limits: [{meter: tokens, rate: 9/month, algorithm: §token_bucket}]}}",
        "write `30d`",
    ),
    Bad(
        "bad-algorithm",
        "tiers: {free: {limits: [{meter: requests, rate: 0/hour, algorithm: §token_bucket}]}}",
        "never refills",
    ),
    Bad(
        "bad-burst",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, burst: §5}]}}",
        "`algorithm: token_bucket`",
    ),
    Bad(
        "bad-burst",
        "tiers: {free: {limits: "
        "[{meter: requests, rate: 1/hour, algorithm: token_bucket, burst: §0}]}}",
        "at least 1",
    ),
    Bad("too-big", "tiers: {free: {requests: §9007199254740992/hour}}", "smaller amount"),
    Bad("too-big", "tiers: {free: {requests: §99999999999999999999999M/hour}}", "smaller"),
    Bad(
        "too-big",
        "tiers: {free: {limits: "
        "[{meter: tokens, rate: §100_000/month, algorithm: sliding_window}]}}",
        "3_362 at most",
    ),
    Bad(
        "too-big",
        "tiers: {free: {limits: [{meter: tokens, rate: §60k/day, algorithm: token_bucket}]}}",
        "together may be 104_249 at most",
    ),
    Bad("duplicate-limit", "tiers: {free: {requests: [1/hour, §2/60m]}}", "the same counters"),
    Bad(
        "duplicate-limit",
        "tiers: {free: {requests: 1/hour, limits: [{meter: requests, rate: §9/1h, name: x}]}}",
        "the same counters",
    ),
    Bad(
        "duplicate-limit",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, per: [a, b]}, "
        "{meter: requests, rate: §9/hour, per: [b, a], name: x}]}}",
        "the same counters",
    ),
    Bad(
        "duplicate-limit",
        "keys: [{key: k, tier: free, limits: {requests: [5/day, §6/24h]}}]",
        "the same counters",
    ),
    Bad(
        "duplicate-name",
        "tiers: {free: {requests: 1/hour, "
        "limits: [{meter: requests, rate: §9/hour, when: {route: x}}]}}",
        "a `name` of its own",
    ),
    Bad(
        "duplicate-per",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, per: [org, §org]}]}}",
        "stands twice",
    ),
    Bad(
        "key-in-per",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, per: [§api_key]}]}}",
        "into the store",
        "subject",
    ),
    Bad(
        "key-in-rule",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, when: {§api_key: sk-live-1}}]}}",
        "into the store",
    ),
    Bad("key-in-rule", "exempt: [{§api_key: 'probe-*'}]", "into the store"),
    Bad("key-in-rule", "exempt: [{§token: x}]\nsubject: {default_tier: free, entry: token}", ""),
    Bad("empty-rule", "exempt: [§{}]", "frees everything"),
    Bad("key-or-hash", f"keys: [{{key: §k, key_hash: {'0' * 32}, tier: free}}]", "write one"),
    Bad("key-or-hash", "keys: [{tier: §free}]", "write one"),
    Bad("key-or-hash", "keys: [{key: §'', tier: free}]", "not empty"),
    Bad(
        "duplicate-subject",
        "keys: [{key: k, tier: free}, {key: §k, tier: free}]",
        "stands above already",
    ),
    Bad(
        "no-own-limits",
        "tiers: {free: {}, own: {custom: true}}\nkeys: [{key: k, tier: §own}]",
        "limit of its own",
    ),
    Bad(
        "custom-default",
        "subject: {default_tier: §own}\ntiers: {own: {custom: true}}",
        "no record",
    ),
    Bad(
        "custom-default",
        "subject: {default_tier: free, missing: §own}\ntiers: {free: {}, own: {custom: true}}",
        "no record",
    ),
)

NEVER = (
    Bad(
        "never-matches",
        "subject: {default_tier: free, scheme: bearer}\nkeys: [{key: §a b, tier: free}]",
        "one word",
    ),
    Bad(
        "never-matches",
        f"tiers: {{free: {{limits: [{{meter: tokens, rate: 1/day, when: {{m: §{LONG}}}}}]}}}}",
        "as a digest",
    ),
    Bad("never-matches", f"exempt: [{{m: §'{LONG}*'}}]", "as a digest"),
    Bad("never-matches", "exempt: [{path: §'/find?q=*'}]", "without its query"),
    Bad(
        "never-matches",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, when: {lease: §x}}]}}",
        "no rule sees it",
    ),
    Bad(
        "never-matches",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, when: {subject: §x}}]}}",
        "`per` only",
    ),
    Bad(
        "never-matches",
        "tiers: {free: {limits: [{meter: tokens, rate: 1/hour, when: {meter: §req*}}]}}",
        "the limit counts `tokens`",
    ),
    Bad(
        "never-matches",
        "exempt: [{route: 'heal*'}]\n"
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, when: {route: §health*}}]}}",
        "an exemption frees",
    ),
    Bad(
        "never-matches",
        "keys: [{key: k, tier: free, org: acme}]\nexempt: [{§org: acme}]",
        "sees entries only",
    ),
    Bad(
        "never-matches",
        "keys: [{key: k, tier: free, org: acme,\n"
        "  limits: [{meter: requests, rate: 1/hour, when: {org: §'x*'}}]}]",
        "`org` of this key is `acme`",
    ),
    Bad(
        "never-matches",
        "keys: [{key: j, tier: free, org: acme}, {key: k, tier: free,\n"
        "  limits: [{meter: requests, rate: 1/hour, when: {org: §'*'}}]}]",
        "`org` of this key is absent",
    ),
)

WARNINGS = (
    Bad("control-entry", "exempt: [{§phase: done}]", "steers the limiter"),
    Bad(
        "control-entry",
        "tiers: {free: {limits: [{meter: requests, rate: 1/hour, per: [subject, §phase]}]}}",
        "steers the limiter",
    ),
    Bad(
        "keyless-limit",
        "subject: {default_tier: free, missing: deny}\nmeters: {address: prepaid}\ntiers: {free: "
        "{limits: [{meter: address, rate: §9/minute, per: [masked_remote_address]}]}}",
        "name a tier",
    ),
    Bad("likely-typo", "keys: [{key: k, tier: free, §biling_day: 3}]", "", "billing_day"),
    Bad(
        "scheme-in-key",
        "subject: {default_tier: free, scheme: bearer}\nkeys: [{key: §Bearer k, tier: free}]",
        "write the key alone",
    ),
    Bad("covered-rule", "exempt: [{route: 'a*'}, {§route: ab}]", "frees this already"),
)
