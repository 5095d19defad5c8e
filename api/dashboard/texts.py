"""Every word of the dashboard, from one file per language: another language is another file (HMI-2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

FOLDER: Final = Path(__file__).parent / "texts"
DEFAULT: Final = "en"
LANGUAGES_MAX: Final = 20


class Catalogue:
    """The texts of one language; what it lacks is told in English."""

    def __init__(self, language: str, texts: Mapping[str, str], fallback: Mapping[str, str]) -> None:
        self.language = language
        self._texts = {**fallback, **texts}

    def text(self, key: str, **values: Any) -> str:
        """Return a text with its values filled in; not escaped: the template does that.

        Raises:
            KeyError: no language has this key: our own mistake, which a test finds.

        """
        text = self._texts[key]
        return text.format_map(values) if values else text

    def or_own(self, prefix: str, word: str) -> str:
        """Return the text of a word of the tree's own, such as a reason, or the word where nobody has told it."""
        return self._texts.get(f"{prefix}.{word}", word)

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """Return the texts under a prefix, for scripts."""
        return {key.removeprefix(prefix): text for key, text in self._texts.items() if key.startswith(prefix)}


class Texts:
    """All languages that there are files of."""

    def __init__(self, folder: Path = FOLDER) -> None:
        read = {
            file.stem: msgspec.json.decode(file.read_bytes(), type=dict[str, str])
            for file in sorted(folder.glob("*.json"))[:LANGUAGES_MAX]
        }
        english = read[DEFAULT]
        self._catalogues = {name: Catalogue(name, texts, english) for name, texts in read.items()}

    def wanted(self, accept_language: str) -> Catalogue:
        """Return the catalogue that a browser likes best (RFC 9110, 12.5.4), English if it likes none of ours."""
        liked: list[tuple[float, int, str]] = []
        for place, part in enumerate(accept_language[:200].split(",")):
            name, _, quality = part.partition(";")
            liked.append((-_quality(quality), place, name.strip().lower()))
        for weight, _, name in sorted(liked):
            found = self._catalogues.get(name) or self._catalogues.get(name.partition("-")[0])
            if found is not None and weight < 0.0:
                return found
        return self._catalogues[DEFAULT]


def _quality(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
