"""Pages of the site that lie elsewhere in the repository, such as README and changelog."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "checkpoints.md": "checkpoints/README.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages, with links to their places in the site."""
    root = Path(config.config_file_path).parent
    for name, source in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=linked(text)))
    return files


def linked(text: str) -> str:
    """Replaces relative links of a page of the repository by those of the site."""
    places = {path: name for name, path in PAGES.items()}

    def replaced(found: re.Match[str]) -> str:
        target = found[1].removeprefix("../")
        return f"]({places.get(target, target.removeprefix('docs/'))}{found[2] or ''})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", replaced, text)
