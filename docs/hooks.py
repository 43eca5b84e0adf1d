"""What mkdocs does beside Markdown: pages show the package's own source, its formulas, and figures made by the build.

A line of a page that is

    {{ source: functional_mlp.layers.linear.Linear.backward }}

becomes that function's source, and

    {{ formula: fm.GELU() }}

the formula that `fm.latex` sets for the value, as MathML, which browsers show without any program.

    {{ engine: value_3 of Sequential(Linear(2, 3), Tanh()) }}

becomes a function of the code that `python -m functional_mlp.engine` prints for a network, and with `assembly` in place
of `engine`, of the processor's instructions that it prints with `--assembly`. `figures/NAME.svg` is
what the function NAME of `figures.py` draws.
"""

import importlib
import inspect
import itertools
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import functional_mlp as fm

HERE = Path(__file__).parent
ROOT = HERE.parent
DIRECTIVE = re.compile(r"^\{\{ (source|formula|engine|assembly): (.+) \}\}$", re.MULTILINE)
# What mkdocstrings is to show, and below it a formula.
BELOW_A_NAME = re.compile(r"^::: (\S+)\n\n\{\{ formula: (.+) \}\}$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Draw the figures that pages show."""
    sys.path.insert(0, str(HERE))
    figures = importlib.import_module("figures")
    shown = {
        name
        for file in files.documentation_pages()
        for name in re.findall(r"\]\((?:\.\./)*figures/([a-z_]+)\.svg\)", file.content_string)
    }
    for name in sorted(shown):
        content = figures.svg(getattr(figures, name)())
        files.append(File.generated(config, f"figures/{name}.svg", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put sources and formulas into a page."""
    makers = {"source": source, "formula": formula, "engine": engine, "assembly": assembly}
    markdown = BELOW_A_NAME.sub(r"::: \1", markdown)  # docs/docstrings.py sets these, above the text of the class
    return DIRECTIVE.sub(lambda found: makers[found[1]](found[2]), markdown)


def source(dotted: str) -> str:
    """The source of a class, a function or a method, with its name and the file that it is in."""
    thing = importlib.import_module("functional_mlp")
    for index, name in enumerate(dotted.split(".")[1:], 2):
        found = getattr(thing, name, None)
        thing = importlib.import_module(".".join(dotted.split(".")[:index])) if found is None else found
    path = Path(inspect.getsourcefile(thing) or "").relative_to(ROOT)
    code = textwrap.dedent(inspect.getsource(thing))
    return f'```python title="{thing.__qualname__}, {path}"\n{code}```'


def formula(code: str) -> str:
    """The formula of a value, as MathML."""
    # latex2mathml knows `aligned` by its older name.
    latex = fm.latex(eval(code, {"fm": fm})).replace("{aligned}", "{split}")
    mathml = latex2mathml.converter.convert(latex, display="block")
    # Names of functions are names, not operators with space around them, and their prime is a part of the name, not an
    # exponent, which would be too small to be seen.
    mathml = re.sub(r"<msup><mo>(\w+)</mo><mi>&#x02032;</mi></msup>", r"<mi>\1′</mi>", mathml)
    mathml = re.sub(r"<mo>((?!mod)[A-Za-z]{2,})</mo>", r"<mi>\1</mi>", mathml)
    mathml = re.sub(r"<msup>(<mi>\w</mi>)<mi>&#x02032;</mi></msup>", r'\1<mo lspace="0" rspace="0">′</mo>', mathml)
    mathml = mathml.replace("<mi>:</mi>", '<mo lspace="0.28em" rspace="0.28em">:</mo>')
    # A minus at the beginning of an argument is a sign.
    mathml = re.sub(r"(<mo>&#x0002C;</mo>|<mrow>)<mo>&#x02212;</mo>", r'\1<mo form="prefix">&#x02212;</mo>', mathml)
    return f'<div class="formula">{mathml}</div>'


def engine(request: str) -> str:
    """A function of the engine's code for a network, with lines that fit on a page."""
    first, *rest = found(request, r'^define [^\n]*@"NAME".*?^}$').splitlines()
    lines = [*textwrap.wrap(first, 110, subsequent_indent=" " * 8), *map(counted, rest)]
    return "```llvm\n{}\n```".format("\n".join(lines))


def counted(line: str) -> str:
    """A line of code in which equal numbers of a constant vector are counted.

    >>> counted("%x = fmul <3 x float> %y, <float  0x0, float  0x0, float 0x1>")
    '%x = fmul <3 x float> %y, <2 × float 0x0, 1 × float 0x1>'
    """

    def runs(vector: re.Match[str]) -> str:
        numbers = [" ".join(number.split()) for number in vector[1].split(",")]
        return "<{}>".format(", ".join(f"{len(list(run))} × {each}" for each, run in itertools.groupby(numbers)))

    return re.sub(r"<([^<>]*,[^<>]*)>", runs, line)


def assembly(request: str) -> str:
    """The processor's instructions of such a function, without what only the assembler reads."""
    code = found(request, r"^_?NAME:.*?(?=^\S*func_end)", "--assembly")
    lines = [line for line in code.splitlines() if not line.startswith(("\t.", "#", "\t#"))]
    return "```gas\n{}\n```".format("\n".join(lines))


def found(request: str, pattern: str, *options: str) -> str:
    """What matches the name of a request, such as `value_3 of Sequential(…)`, in what the engine prints."""
    name, network = request.split(" of ")
    command = [sys.executable, "-m", "functional_mlp.engine", "--network", network, *options]
    code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(pattern.replace("NAME", name), code, re.DOTALL | re.MULTILINE)
    if match is None:
        raise ValueError(f"the engine's code for {network} has no function {name}")
    return match[0]
