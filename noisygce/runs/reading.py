"""Reading files that may come from elsewhere: plain values, or one ValueError that says what is wrong."""

from __future__ import annotations

import json
from typing import Any

Rows = list[dict[str, str]]  # of a metrics.csv, an epoch each, as text: no digit is lost

_DEEPEST = 100  # levels of nesting in a YAML; no config has a tenth
_SHORT = 2_000  # characters of a YAML, which cannot nest too deeply for libyaml; configs have 700 to 1,500


def json_values(text: str | bytes) -> Any:
    """The values of a JSON text. Raises ValueError, for nesting deeper than Python reads too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def yaml_values(text: str) -> Any:
    """The values of a YAML text without tags of Python. Raises ValueError.

    libyaml builds nested values by recursion in C, and 100,000 brackets would end the process; a list of aliases to
    lists of aliases would fill the memory. Its parser has neither fault, so the events of a text that is long or has
    an anchor are looked at first.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader) if len(text) > _SHORT or "&" in text else ():
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
                raise ValueError("nested too deeply, or has aliases")
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {error}".partition("\n")[0]) from None
