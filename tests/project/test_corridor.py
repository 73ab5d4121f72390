"""Who may do what, end to end through the public API."""

from __future__ import annotations

from pellucid import check

def test_x(trained):
    p = trained.open()
    b = p.bundle("tiny")
    print(len(b.to_bytes()), len(b.evidence), p.log.size)
    r = check.check(b, trained.policy, owners=[p.owner])
    print(r.exit, [(f.id,f.status) for f in r.findings])
