"""Whether the files of a sharded checkpoint are all there, by their numbers and by the index beside them."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from trajectory.errors import first_line

_NUMBERED = re.compile(r"(.*?)([-_]?)(\d+)([-_]of[-_])(\d+)((?:\.\w+)+)")  # model-00002-of-00003.safetensors
_SHOWN = 3  # names in a message


def files_fault(files: Iterable[Path]) -> str | None:
    """Say what is wrong with the numbers of a checkpoint's files.

    Args:
        files: The files, of one folder.

    Returns:
        The end of a sentence; None if each file from 1 to their number is there once, or they have no numbers.
    """
    numbered = [found for file in files if (found := _NUMBERED.fullmatch(file.name))]
    totals = {found[5] for found in numbered}
    if len(totals) > 1:
        return f"holds shards of {' and of '.join(sorted(totals))} files; expected those of one checkpoint"
    if not numbered:
        return None
    first, there = numbered[0], {int(found[3]) for found in numbered}
    begin, count = 0 if 0 in there else 1, int(first[5])
    if (last := max(there)) >= begin + count:
        return f"holds shard {last} of {count}; expected those of one checkpoint"
    if len(there) < count:
        missing = next(k for k in range(begin, begin + count) if k not in there)
        name = f"{first[1]}{first[2]}{missing:0{len(first[3])}}{first[4]}{first[5]}{first[6]}"
        return f"has {len(there)} of {count} shards, without {name}; expected all of them in one folder"
    return None


def index_fault(file: Path, names: Iterable[str]) -> str | None:
    """Say what is wrong with what the files of a checkpoint hold, by the index that libraries write beside shards.

    Args:
        file: One of the files.
        names: The names of the tensors in all of them.

    Returns:
        The end of a sentence; None if all tensors of the index are there, or there is no index.
    """
    found = _NUMBERED.fullmatch(file.name)
    index = file.with_name(f"{found[1]}{found[6]}.index.json") if found else None
    if index is None or not index.is_file():
        return None
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return f"has an index that cannot be read, {index.name} ({first_line(error)}); expected its weight_map"
    listed = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(listed, Mapping):
        return f"has an index without a weight_map, {index.name}; expected the file of each tensor by its name"
    missing = sorted(set(listed) - set(names))
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        lacking = ", ".join(missing[:_SHOWN]) + more
        return f"lacks {lacking}, which {index.name} lists; expected all shards of one checkpoint"
    return None
