"""The last step of a build: what is known of all shards becomes the manifest, and the data set is complete."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

from paintsundo.data import process
from paintsundo.data.making.folder import AGAIN, LICENCES, MANIFEST, REJECTED, Folder, write
from paintsundo.data.making.plan import Plan
from paintsundo.data.making.settings import BuildSettings
from paintsundo.data.making.tally import Tally, licences_text
from paintsundo.data.shards import FORMAT
from paintsundo.errors import UserError


def finish(settings: BuildSettings, folder: Folder, plan: Plan) -> dict[str, Any]:
    """Write everything but the shards, the manifest last; returns it."""
    tally, entries = Tally(), []
    partial = folder.work / REJECTED
    with partial.open("w", encoding="utf-8") as rejected:
        for line in plan.refused():
            tally.rejected += 1
            rejected.write(line)
        for shard in range(len(plan)):
            side = folder.read_side(shard)
            if side is None:
                raise UserError(f"shard {shard} of {folder.path} is missing; the same command draws it")
            tally.add(side["tally"])
            if side["entry"] is not None:
                entries.append(side["entry"])
            for each in side["rejected"]:
                rejected.write(json.dumps(each, ensure_ascii=False) + "\n")
        rejected.flush()
        os.fsync(rejected.fileno())
    partial.replace(folder.path / REJECTED)
    write(folder.path / LICENCES, licences_text(tally.credits.items()))
    write(folder.path / AGAIN, (folder.work / AGAIN).read_bytes())
    manifest = _manifest(settings, plan, tally, entries)
    write(folder.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return manifest


def _manifest(settings: BuildSettings, plan: Plan, tally: Tally, entries: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {name: dict(sorted(counter.items())) for name, counter in tally.counts.items()}
    reasons = Counter(counts.pop("reasons")) + Counter(plan.facts["reasons"])
    rules = sorted(counts.pop("work_rules"))
    return {
        "format": FORMAT,
        "process_version": process.VERSION,
        "source": settings.parts[0].source.name if len(settings.parts) == 1 else "open",
        "size": settings.size,
        "seed": settings.seed,
        "most_stages": tally.most_stages,
        "samples": tally.kept,
        "rejected": tally.rejected,
        "files_found": plan.facts["found"],
        "files_left_out": plan.facts["left_out"],
        **counts,
        "reasons": dict(sorted(reasons.items())),
        "work_rules": rules,
        "settings": settings.decisive(),
        "plan": plan.digest,
        "shards": entries,
    }
