"""TeX accents and simple commands in titles, names and abstracts."""


def tex_to_text(text: str) -> str:
    """Return the text with TeX accents and simple commands as characters."""
    return text
