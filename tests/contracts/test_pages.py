"""What the pages say holds: commands run, params load, links lead somewhere, and the README is short.

A shell block is run as it stands, in a small project, unless a comment before it says otherwise::

    <!-- not run: WHY -->
    <!-- run by tests/PATH.py::TEST -->
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.params import Params, load_params
from tests.support.paths import ROOT
from tests.support.project import Project, make_project
from tests.support.results import must

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SHELL = {"bash", "sh", "shell", "console"}
LONGEST_README = 130  # lines
FENCE = re.compile(r"^(?P<indent>\s*)```(?P<language>\w*)\s*$")
MARK = re.compile(r"^\s*<!-- (?P<text>.+) -->$")
NAMED_TEST = re.compile(r"run by (?P<file>tests/[\w/]+\.py)::(?P<test>test_\w+)")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"(?P<ticks>`+)(?P<text>.+?)(?P=ticks)")
DOTTED = re.compile(rf"(?P<section>{'|'.join(Params.model_fields)})\.(?P<key>[a-z_]+)(?:: (?P<value>.+))?")
GROUPS_OF_COMMANDS = {"dvc", "git", "mlflow", "prefect", "ray"}  # whose second word is a command, too


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: path from the root.
        line: of its fence, from 1.
        language: as the fence says, or empty.
        mark: the comment before it, or empty.
        text: its lines.
    """

    page: str
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        """Return where it stands, as tests are named by it."""
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, from top to bottom."""
    lines = page.read_text(encoding="utf-8").splitlines()
    place, mark = 0, ""
    while place < len(lines):
        if opened := FENCE.match(lines[place]):
            indent, first = opened["indent"], place + 1
            place = lines.index(f"{indent}```", first)
            text = "".join(f"{line.removeprefix(indent)}\n" for line in lines[first:place])
            yield Block(page.relative_to(ROOT).as_posix(), first, opened["language"], mark, text)
            mark = ""
        elif lines[place].strip():
            comment = MARK.match(lines[place])
            mark = comment["text"] if comment else ""
        place += 1


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
IN_SHELL = [block for block in BLOCKS if block.language in SHELL]
RUN_HERE = [block for block in IN_SHELL if not block.mark]
RUN_ELSEWHERE = [block for block in IN_SHELL if block.mark.startswith("run by ")]
IN_YAML = [block for block in BLOCKS if block.language in {"yaml", "yml"}]


def prose_of(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^(\s*)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def code_of(text: str) -> list[str]:
    """Return what stands between backticks, which may be doubled."""
    return [found["text"].strip() for found in CODE.finditer(text)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Project:
    """A small project in which nothing was run yet, for the blocks of all pages in turn."""
    return make_project(tmp_path_factory.mktemp("pages") / "clone", cells)


def test_every_shell_block_is_run_or_says_why_not() -> None:
    """No comment before a shell block is misspelt, and a reason is more than a word."""
    wrong = [
        f"{block}: '{block.mark}'"
        for block in IN_SHELL
        if block.mark and not NAMED_TEST.fullmatch(block.mark) and not re.fullmatch(r"not run: .{15,}", block.mark)
    ]
    assert IN_SHELL
    assert not wrong


@pytest.mark.parametrize("block", RUN_HERE, ids=str)
def test_commands_run(project: Project, block: Block) -> None:
    """A block without a comment ends with status 0 in a clone in which nothing was run yet."""
    must(project.run("bash", "-ec", block.text))


@pytest.mark.parametrize("block", RUN_ELSEWHERE, ids=str)
def test_commands_are_those_of_the_named_test(block: Block) -> None:
    """The test that a comment names is there, and it or what it stands on has the words of every command."""
    named = NAMED_TEST.fullmatch(block.mark)
    assert named
    file = ROOT / named["file"]
    functions = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
    assert named["test"] in functions
    source = "".join(path.read_text() for path in stands_on(file))
    assert not sorted(word for word in words_of(block.text) if not names(source, word))


def names(source: str, word: str) -> bool:
    """Return whether a source has a word of a command; a flow may be called by the last part of its module's name."""
    flow = word.removeprefix("flows.")
    return bool(re.search(rf"(?<![\w-]){re.escape(word)}\b", source)) or (flow != word and f'"{flow}"' in source)


def stands_on(file: Path) -> set[Path]:
    """Return a file of tests, its folder's fixtures, and the modules of tests/support that these import."""
    known: set[Path] = set()
    left = [file, file.with_name("conftest.py")]
    while left:
        path = left.pop()
        if path in known or not path.is_file():
            continue
        known.add(path)
        modules = re.findall(r"from tests\.support\.(\w+) import", path.read_text())
        for imported in re.findall(r"from tests\.support import (.+)", path.read_text()):
            modules += imported.split(", ")
        left += [ROOT / "tests/support" / f"{module}.py" for module in modules]
    return known


def words_of(text: str) -> set[str]:
    """Return what tells the commands of a shell block apart: programs, modules, their commands and options."""
    words: set[str] = set()
    for line in re.split(r"\n|&&|\|", text.replace("\\\n", " ")):
        tokens = [token for token in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", token)]
        if not tokens or tokens[0] in {"export", "cd"}:
            continue
        words |= {token.partition("=")[0] for token in tokens if token.startswith("--")}
        plain = [token for token in tokens if not token.startswith("-")]
        if "-m" in tokens and tokens[0] in {"python", "torchrun"}:
            plain = tokens[tokens.index("-m") + 1 :]
            words |= {tokens[0]} - {"python"}
        words.add(plain[0])
        if plain[0] in GROUPS_OF_COMMANDS | {"tasks"}:
            words.add(plain[1])
    return words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python -m flows.compare --data-rev v1  # as it was", {"flows.compare", "--data-rev"}),
        ("A=b dvc exp run -S x=1 && git commit -m 'x y'", {"dvc", "exp", "git", "commit"}),
        ("torchrun --nproc-per-node 2 -m tasks finetune", {"torchrun", "--nproc-per-node", "tasks", "finetune"}),
        ("export A=b\ncurl -s x | jq \\\n --raw=1", {"curl", "jq", "--raw"}),
    ],
)
def test_words_tell_commands_apart(text: str, words: set[str]) -> None:
    """Values, variables and remarks are no words of a command."""
    assert words_of(text) == words


@pytest.mark.parametrize("block", IN_YAML, ids=str)
def test_params_load(tmp_path: Path, block: Block) -> None:
    """A YAML block is a part of params.yaml that is valid together with the rest of the file."""
    load_with(tmp_path, YAML(typ="safe").load(block.text))


def load_with(folder: Path, fragment: dict[str, Any]) -> Params:
    """Return the shipped params with some keys replaced, loaded as every step loads them."""
    params: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")
    for section, keys in fragment.items():
        params[section] = {**params.get(section, {}), **keys}
    with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(params, stream)
    return load_params(folder / "params.yaml")


def keys_in_prose() -> Iterator[tuple[str, str, str, str]]:
    """Yield page, section, key and value, which may be empty, of what is written like ``train.seeds: 3``."""
    for page in PAGES:
        for code in code_of(prose_of(page)):
            if named := DOTTED.fullmatch(code):
                yield page.relative_to(ROOT).as_posix(), named["section"], named["key"], named["value"] or ""


@pytest.mark.parametrize(("page", "section", "key", "value"), sorted(set(keys_in_prose())))
def test_keys_in_prose_are_those_of_params(tmp_path: Path, page: str, section: str, key: str, value: str) -> None:
    """What is written like ``train.seeds: 3`` is a key of that section, and the value one that it takes."""
    model = Params.model_fields[section].annotation
    if section != "strategies":
        assert key in getattr(model, "model_fields", {}), page
    if value:
        load_with(tmp_path, {section: {key: YAML(typ="safe").load(value)}})


def lines_of_strategies() -> list[str]:
    """Return what the page on strategies says to write into one, in the second columns of its tables."""
    rows = re.findall(r"^\| (?!to \||---).+? \| (.+) \|$", prose_of(ROOT / "docs/use/strategies.md"), re.M)
    return [code for row in rows for code in code_of(row) if re.match(r"[a-z_0-9]+: ", code)]


@pytest.mark.parametrize("line", lines_of_strategies())
def test_lines_of_strategies_load(tmp_path: Path, line: str) -> None:
    """Every line that a strategy can have is one that it may have, together with what it goes with."""
    settings = YAML(typ="safe").load(line)
    if not {"train", "milestones"} & settings.keys():
        settings["train"] = "head" if "solver" in settings else "all"
    if "groups" in settings:
        settings["train"] = list(settings["groups"])
    load_with(tmp_path, {"strategies": {"tried": {"lr": 0.001, "epochs": 20, **settings}}})


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-")


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose_of(page), re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is to a file that is there, and every anchor to a heading of it."""
    lost = []
    for found in LINK.finditer(CODE.sub("", prose_of(page))):
        target, _, anchor = found["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors_of(path)):
            lost.append(found["target"])
    assert not lost


def test_the_site_has_every_page() -> None:
    """The pages of docs are those in the menu of the site."""
    menu = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]))
    assert menu == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")}


def test_the_readme_is_short_and_names_the_licence_of_the_images() -> None:
    """A newcomer reads it in a few minutes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= LONGEST_README
    assert "CC BY-NC-SA 4.0" in readme
