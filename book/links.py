"""Write the repository's home, stated once in pyproject.toml, wherever a link needs it (`make links`)."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLUG = r"([\w.-]+)/([\w.-]+?)"
# Links that can only mean this repository, whatever owner and name stand in them.
HOME_LINKS = [
    rf"https://colab\.research\.google\.com/github/{SLUG}/blob/",
    rf"https://mybinder\.org/v2/gh/{SLUG}/",
    rf"git\+https://github\.com/{SLUG}(?:\.git)?(?=[\s'\"`)@\\]|$)",
    rf"https://github\.com/{SLUG}/actions/workflows/",
    rf"git clone https://github\.com/{SLUG}(?:\.git)?(?=[\s'\"`)\\]|$)",
    rf"(?m)^(?:repository-code|    url): [\"']?https://github\.com/{SLUG}[\"']?$",
]


def home() -> tuple[str, str]:
    """Owner and name of the repository, as pyproject.toml states them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf'(?m)^Repository = "https://github\.com/{SLUG}"$', text)
    if not found:
        raise ValueError('pyproject.toml needs a line Repository = "https://github.com/OWNER/NAME"')
    return found.group(1), found.group(2)


def files() -> list[Path]:
    """The text files that may hold a link: all that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    kinds = {".md", ".ipynb", ".yml", ".cff", ".toml", ".html"}
    return [ROOT / name for name in listed if Path(name).suffix in kinds and (ROOT / name).is_file()]


def slugs(text: str) -> set[tuple[str, str]]:
    """Every (owner, name) that a home link of the text holds."""
    return {match.groups()[:2] for pattern in HOME_LINKS for match in re.finditer(pattern, text)}


def relink(text: str, old: set[tuple[str, str]], new: tuple[str, str]) -> str:
    """The text with the home (owner, name) ``new`` in place of every one of ``old``."""
    for owner, name in old - {new}:
        text = re.sub(rf"(?<![\w.-]){re.escape(owner)}/{re.escape(name)}(?![\w-])", "/".join(new), text)
        # The published book lives on GitHub Pages, where the owner stands in the host's name.
        text = text.replace(f"https://{owner}.github.io/{name}", f"https://{new[0]}.github.io/{new[1]}")
    return text


def main() -> None:
    new = home()
    texts = {path: path.read_text(encoding="utf-8") for path in files()}
    old = set().union(*map(slugs, texts.values()))
    for path, text in texts.items():
        linked = relink(text, old, new)
        if linked != text:
            path.write_text(linked, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: now points to {'/'.join(new)}")


if __name__ == "__main__":
    sys.exit(main())
