"""Ids of leases: none twice, all of one shape, and as much chance in each as they say."""

from __future__ import annotations

import base64

from ratelimitd.ids import Ids


def test_ids_differ_and_are_safe_in_headers() -> None:
    """Ten thousand ids, of two makers: all different, 18 bytes each, no character to be escaped."""
    makers = Ids().new, Ids().new
    ids = [maker() for maker in makers for _ in range(5_000)]
    assert len(set(ids)) == len(ids)
    assert {len(base64.urlsafe_b64decode(each)) for each in ids} == {18}
    assert not any(set("+/=") & set(each) for each in ids)


def test_every_byte_of_an_id_is_chance() -> None:
    """No byte is the same in all ids, as one would be that counts or that padding fills."""
    new = Ids().new
    rows = [base64.urlsafe_b64decode(new()) for _ in range(300)]
    assert all(len({row[index] for row in rows}) > 100 for index in range(18))
