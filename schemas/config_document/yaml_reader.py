"""The bytes of a configuration document to texts, lists and mappings, each with its line.

The document is YAML without what surprises people: every scalar is the text that stands there (`0012`, `on`, `1e5`), a
mapping has each key once, and there are no anchors, aliases, tags, merge keys or tabs. A document that begins with `{`
is JSON; its faults have no lines. PyYAML is imported only when a YAML document is read.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, NamedTuple, TypeAlias

from schemas import strict_json
from schemas.config_document.faults import ConfigFault, ConfigFaults, child_path

MAX_DOCUMENT_BYTES = 512 * 1024
MAX_DEPTH = 10
"""How deep mappings and lists may be nested; a valid document needs 6."""

EXPECTED_DOCUMENT = 'must be a mapping with the key targets, e.g. "targets:" and below it "  - name: emea"'

_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Control characters, line ends that editors do not count, and a byte order mark inside the document."""

_MEANINGS = {
    "mapping values are not allowed": 'has ": " where no key may stand: indent it, or put the text in quotes, e.g. '
    'note: "window: 22 to 06"',
    "could not find expected ':'": 'has a key without ": ", e.g. name: emea',
    "found character": 'begins with a character that YAML reserves: put the text in quotes, e.g. note: "@home"',
    "found unexpected end of stream": "ends inside a text in quotes or in brackets: close them",
}
"""How PyYAML's own words begin → ours, which repeat nothing of the document."""

_SYNTAX = 'is not valid YAML: check indentation, quotes and brackets here, e.g. "  - name: emea"'


class Node(NamedTuple):
    """A value and its line: that of its key, or of the value itself in a list. The line is None in JSON."""

    line: int | None
    value: Value


Value: TypeAlias = str | list[Node] | dict[str, Node] | None


class Document(NamedTuple):
    """What was read.

    Attributes:
        root: the value of the whole document.
        faults: what is wrong with its YAML and leaves the rest readable.
        unread: the paths of members that are missing because of them.

    """

    root: Node
    faults: list[ConfigFault]
    unread: set[str]


def plain(node: Node) -> Any:
    """Return the value without lines."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


def read(data: bytes) -> Document:
    """Return the document.

    Raises:
        ConfigFaults: the rest cannot be read.

    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _refused(None, f"is larger than {MAX_DOCUMENT_BYTES // 1024} KiB: split it over several functions")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(line, "is not UTF-8: save the file as UTF-8") from None
    if text.lstrip().startswith("{"):
        try:
            return Document(Node(None, _from_json(strict_json.loads(data), 1)), [], set())
        except strict_json.InvalidJSON as error:
            raise _refused(None, f"begins with {{ and is not valid JSON: {error}") from None
    if wrong := _NOT_YAML.search(text):
        raise _refused(_line(text, wrong.start()), "has a control character or a special line end: take it out")
    # PyYAML and libyaml differ in where they take a tab, and an indentation by tabs is never valid.
    if tabs := [number for number, line in enumerate(text.split("\n"), 1) if "\t" in line]:
        message = r'has a tab: indent with spaces; inside a text write "\t" in double quotes'
        raise ConfigFaults([ConfigFault(number, "", message) for number in tabs])
    return _Reader(text).document()


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _refused(line: int | None, message: str) -> ConfigFaults:
    return ConfigFaults([ConfigFault(line, "", message)])


def _from_json(value: Any, depth: int) -> Value:
    """Return a JSON value as YAML would have it: numbers and truth values as texts."""
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        raise _refused(None, f"is nested more than {MAX_DEPTH} deep: {EXPECTED_DOCUMENT}")
    if isinstance(value, dict):
        return {key: Node(None, _from_json(child, depth + 1)) for key, child in value.items()}
    if isinstance(value, list):
        return [Node(None, _from_json(child, depth + 1)) for child in value]
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


class _Reader:
    """Builds the nodes from PyYAML's events: its own composer would follow aliases and keep the last of two keys."""

    def __init__(self, text: str) -> None:
        import yaml

        self._faults: list[ConfigFault] = []
        self._unread: set[str] = set()
        self._errors = (yaml.YAMLError, ValueError, OverflowError)  # a numeric escape out of range is not a YAMLError
        # The loader in C is many times faster; a package without compiled code does not have it.
        self._loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        self._events = yaml.events

    def document(self) -> Document:
        """Return the only document."""
        self._next()
        first = self._next()
        if not isinstance(first, self._events.DocumentStartEvent):
            raise _refused(None, f"is empty: {EXPECTED_DOCUMENT}")
        event = self._next()
        root = Node(event.start_mark.line + 1, self._value(event, "", 1))
        self._next()
        after = self._next()
        if isinstance(after, self._events.DocumentStartEvent):
            self._fault(after, "", "must be one document: take out the second ---")
            raise ConfigFaults(self._faults)
        return Document(root, self._faults, self._unread)

    def _next(self) -> Any:
        try:
            return self._loader.get_event()
        except self._errors as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line if mark is not None else getattr(self._loader, "line", 0)
            problem = str(getattr(error, "problem", ""))
            meaning = next((text for start, text in _MEANINGS.items() if problem.startswith(start)), _SYNTAX)
            raise ConfigFaults([*self._faults, ConfigFault(line + 1, "", meaning)]) from None

    def _fault(self, event: Any, path: str, message: str) -> None:
        self._faults.append(ConfigFault(event.start_mark.line + 1, path, message))

    def _value(self, event: Any, path: str, depth: int) -> Value:
        if isinstance(event, self._events.AliasEvent):
            self._fault(event, path, "must not be an alias (*name): write the value out, or put it in quotes")
            self._unread.add(path)
            return None
        if event.anchor is not None:
            self._fault(event, path, "must not have an anchor (&name): take it out, or put the text in quotes")
        if event.tag is not None:
            self._fault(event, path, "must not have a tag (!name): take it out, or put the text in quotes")
        if isinstance(event, self._events.ScalarEvent):
            return self._text(event, path)
        if depth > MAX_DEPTH:
            self._fault(event, path, f"is nested more than {MAX_DEPTH} deep: {EXPECTED_DOCUMENT}")
            raise ConfigFaults(self._faults)
        if isinstance(event, self._events.MappingStartEvent):
            return self._mapping(path, depth)
        items: list[Node] = []
        while not isinstance(event := self._next(), self._events.SequenceEndEvent):
            line = event.start_mark.line + 1
            items.append(Node(line, self._value(event, child_path(path, len(items), 0), depth + 1)))
        return items

    def _text(self, event: Any, path: str) -> str | None:
        text = str(event.value)
        if not event.style and text in _NULLS:
            return None
        if re.search("[\ud800-\udfff]", text):
            self._fault(event, path, "has half of a surrogate pair: write the character itself")
            self._unread.add(path)
        return text

    def _mapping(self, path: str, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        position = 0
        while not isinstance(event := self._next(), self._events.MappingEndEvent):
            position += 1
            name = event.value if isinstance(event, self._events.ScalarEvent) else ""
            here, line = child_path(path, name, position), event.start_mark.line + 1
            is_valid = self._check_key(event, name, here, depth)
            if name in found:
                self._fault(event, here, f"repeats the key of line {found[name].line}: each key may stand once")
            node = Node(line, self._value(self._next(), here, depth + 1))
            if is_valid:
                found.setdefault(name, node)
            else:
                self._unread.add(here)
        return found

    def _check_key(self, event: Any, name: str, path: str, depth: int) -> bool:
        before = len(self._faults)
        self._value(event, path, depth + 1)  # a list or mapping as key has to be read to its end
        if not name and len(self._faults) == before:
            self._fault(event, path, "must have a plain text as key, e.g. name: emea")
        elif name == "<<":
            self._fault(event, path, "must not be a merge key (<<): write the fields out")
        return len(self._faults) == before
