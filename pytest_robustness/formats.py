"""The files that results can be written as: an option of pytest, an option of the command line and a renderer for each.

Nothing heavy is imported here: a renderer is, when its file is asked for.
"""

import importlib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pytest_robustness.results import Results

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """`--robustness-<name>` of pytest and `--<name>` of `python -m pytest_robustness`; `told` is what a run calls the file; `renderer` is a function, as
    `module:name`, from results to text.
    """

    name: str
    told: str
    what: str
    renderer: str

    def render(self, results: "Results") -> str:
        """The results as the text of such a file."""
        module, _, name = self.renderer.partition(":")
        found = operator.attrgetter(name)(importlib.import_module(f"pytest_robustness.{module}"))
        return cast("Callable[[Results], str]", found)(results)


FORMATS: tuple[Format, ...] = (
    Format("json", "results", "the results as JSON", "results:Results.to_json"),
    Format("report", "report", "the report, one self-contained HTML page", "report.html:render"),
    Format("markdown", "summary", "a summary in Markdown", "report.markdown:summary"),
    Format("metrics", "metrics", "the numbers as one flat JSON object", "report.metrics:render"),
    Format("openmetrics", "openmetrics", "the numbers as OpenMetrics text", "report.openmetrics:render"),
    Format("model-card", "model card", "a section for a model card, in Markdown", "report.model_card:render"),
)
