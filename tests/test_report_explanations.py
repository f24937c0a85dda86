"""Explanations in the report: what is laid over a picture, what is shown where, and which of them stay."""

import base64
import dataclasses
import io
from html.parser import HTMLParser

import numpy
import pytest
import torch
from PIL import Image

from pytest_robustness.explained import Explained, Panel, Picture, Side
from pytest_robustness.gallery import Gallery
from pytest_robustness.images import heat_uri
from pytest_robustness.records import Verdict
from pytest_robustness.report.html import render
from pytest_robustness.results import Results
from pytest_robustness.traces import Frame, Trace

HOSTILE = "<img src=x onerror=alert(1)>"
PREFIX = "data:image/png;base64,"
# Any that can be told apart.
CLEAN, STRESSED, DIFFERENCE, COLD, HOT = (f"{PREFIX}{letter * 4}" for letter in "ABCDE")


def levels(uri: str) -> torch.Tensor:
    """(h, w, 4) uint8: red, green, blue and alpha."""
    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(PREFIX)))) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
        return torch.from_numpy(numpy.array(image))


def test_the_most_is_red_at_70_percent_and_a_third_of_it_yellow_at_25_percent() -> None:
    shown = levels(heat_uri(torch.tensor([[0.9, 0.3], [0.45, 0.0]])))
    assert shown[0, 0].tolist() == [255, 0, 0, 178]
    assert shown[0, 1].tolist() == [255, 153, 0, round(255 * 0.7 * (1 / 3) ** 0.94)]
    assert shown[0, 1, 3] / 255 == pytest.approx(0.25, abs=0.005)
    assert shown[1, 0].tolist() == [255, 115, 0, round(255 * 0.7 * 0.5**0.94)]


def test_where_nothing_speaks_for_the_class_it_is_clear() -> None:
    heat = torch.tensor([[1.0, 0.0, -0.0], [-2.0, -1e-9, 0.5]])
    assert ((levels(heat_uri(heat))[..., 3] == 0) == (heat <= 0)).all()
    for nothing in (torch.zeros(4, 5), -torch.rand(4, 5)):
        assert not levels(heat_uri(nothing))[..., 3].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_its_scale_is_no_matter(dtype: torch.dtype) -> None:
    heat = torch.tensor([[-1.0, 0.0], [0.25, 1.0]], dtype=dtype)
    shown = {heat_uri(scale * heat.requires_grad_()) for scale in (1e-6, 1, 2, 4096)}
    assert len({tuple(levels(uri).flatten().tolist()) for uri in shown}) == 1


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((16, 16), (16, 16)),
        ((112, 40), (112, 40)),
        ((113, 113), (112, 112)),
        ((224, 160), (112, 80)),
        ((100, 448), (25, 112)),
        ((1, 500), (1, 112)),
    ],
)
def test_it_has_at_most_112_pixels_on_a_side(shape: tuple[int, int], shown: tuple[int, int]) -> None:
    assert levels(heat_uri(torch.rand(shape))).shape[:2] == shown


def test_superpixels_of_a_large_image_keep_their_place_and_their_colour() -> None:
    heat = torch.zeros(224, 224)
    heat[:112, 112:] = 3.0
    heat[112:, :112] = 1.0
    heat[112:, 112:] = -3.0
    shown = levels(heat_uri(heat))
    assert (shown[:56, 56:] == torch.tensor([255, 0, 0, 178])).all()
    assert (shown[56:, :56] == levels(heat_uri(torch.tensor([[3.0, 1.0]])))[0, 1]).all()
    assert not shown[:56, :56, 3].any()
    assert not shown[56:, 56:, 3].any()


def test_the_most_of_a_smooth_heat_is_red_also_in_a_large_image() -> None:
    small = torch.zeros(1, 1, 7, 7)
    small[0, 0, 2, 4] = 1
    heat = torch.nn.functional.interpolate(small, (224, 224), mode="bilinear")[0, 0]
    assert levels(heat_uri(heat))[..., 3].max() >= 170


PANELS = (
    Panel("difference x 2, grey is none", DIFFERENCE),
    Panel("cat on the clean image", CLEAN, COLD, "8 x 8 values of stage"),
    Panel("dog on the stressed image", STRESSED, HOT, "R2 0.91 (adjusted 0.88) over 150 samples"),
)


def pictures(image: str = "cat/1.png", *panels: Panel) -> tuple[Picture, Picture]:
    return (
        Picture(image, "clean", CLEAN, (("cat", 0.9), ("dog", 0.1))),
        Picture(image, "alpha 0.2", STRESSED, (("dog", 0.8), ("cat", 0.2)), panels or PANELS),
    )


def side(caption: str = "clean", label: str = "cat", **fields: object) -> Side:
    given: dict[str, object] = {"probability": 0.98345, "note": "4 x 4 values of stage", "believable": True}
    shown = Panel(f"{label}, {caption}", CLEAN, COLD, str(fields.get("note", given["note"])))
    return Side(caption, label, **{**given, "picture": shown, **fields})  # type: ignore[arg-type]


def explained(*sides: Side, **fields: object) -> Explained:
    given: dict[str, object] = {"image": "cat/1.png", "case": "Blend('spots.png') at alpha 0.2", "method": "GradCAM()"}
    return Explained(sides=sides or (side(),), **{**given, **fields})  # type: ignore[arg-type]


def verdict(status: str = "fail", **fields: object) -> Verdict:
    given: dict[str, object] = {"gate": "accuracy", "claim": "it holds", "reason": "it fell", "test": "t.py::test"}
    return Verdict(status=status, **{**given, **fields})  # type: ignore[arg-type]


class Page(HTMLParser):
    """Tags with their classes, the words between them, and no attribute that runs or fetches anything."""

    def __init__(self, *verdicts: Verdict) -> None:
        super().__init__()
        self.text = render(Results(verdicts))
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.sources: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        own = dict(attrs)
        assert not any(name.startswith("on") for name in own), (tag, own)
        for name in ("src", "href"):
            assert str(own.get(name, "#")).startswith(("#", PREFIX))
        self.classes.append(f"{tag}.{own.get('class', '')}")
        if tag == "img":
            self.sources.append(str(own["src"]))
        if tag == "h2":
            self.headings.append(str(own["id"]))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_panels_of_a_failure_are_in_its_block_after_its_pictures() -> None:
    page = Page(verdict(pictures=pictures()))
    assert page.headings == ["gates", "failures", "numbers", "environment"]
    assert page.sources == [CLEAN, STRESSED, DIFFERENCE, CLEAN, COLD, STRESSED, HOT]
    assert page.text.count('<img class="overlay"') == 2
    assert page.classes.count("figure.panel") == 3
    assert (
        "difference x 2, grey is none cat on the clean image 8 x 8 values of stage "
        "dog on the stressed image R2 0.91 (adjusted 0.88) over 150 samples"
    ) in page.said
    block = page.text[page.text.index('<h2 id="failures">') : page.text.index('<h2 id="numbers">')]
    assert block.count("<article>") == 1
    assert all(panel.caption in block for panel in PANELS)


def test_an_overlay_lies_in_the_frame_of_its_own_picture() -> None:
    text = Page(verdict(pictures=pictures())).text
    for image, panel in zip(("cat/1.png",) * 3, PANELS, strict=True):
        overlay = f'<img class="overlay" src="{panel.overlay}" alt="">' if panel.overlay else ""
        frame = f'<span class="frame"><img src="{panel.png}" alt="{image}, {panel.caption}">{overlay}</span>'
        assert text.count(frame) == 1


def test_panels_of_several_images_stay_with_their_image() -> None:
    page = Page(verdict(pictures=pictures("cat/1.png") + pictures("cat/2.png")))
    first, second = page.text.split('<div class="pair">')[1:]
    assert [part.count('<figure class="panel">') for part in (first, second)] == [3, 3]
    assert [part.count('<div class="panels">') for part in (first, second)] == [1, 1]
    assert ('alt="cat/1.png' in first, 'alt="cat/2.png' in first) == (True, False)
    assert ('alt="cat/2.png' in second, 'alt="cat/1.png' in second) == (True, False)


def test_pictures_without_panels_have_no_place_for_them() -> None:
    bare = tuple(dataclasses.replace(own, panels=()) for own in pictures())
    page = Page(verdict(pictures=bare))
    assert page.sources == [CLEAN, STRESSED]
    assert not {"div.panels", "figure.panel"} & set(page.classes)


def test_what_could_not_be_explained_says_why_without_a_picture() -> None:
    page = Page(verdict(pictures=pictures("cat/1.png", Panel("not explained", note="take Lime()"))))
    assert page.sources == [CLEAN, STRESSED]
    assert "not explained take Lime()" in page.said
    assert page.classes.count("span.frame") == 0


def test_where_it_held_is_what_passed_and_is_pictured() -> None:
    shown = verdict("pass", claim="it is strong", test="t.py::test_a", pictures=pictures())
    page = Page(shown, verdict("pass", claim="it is plain", test="t.py::test_b"), verdict(test="t.py::test_c"))
    assert page.headings == ["gates", "failures", "held", "numbers", "environment"]
    held = page.text[page.text.index('<h2 id="held">Where it held</h2>') : page.text.index('<h2 id="numbers">')]
    assert '<p class="reason"><span class="verdict pass">pass</span> it is strong</p>' in held
    assert "t.py::test_a" in held
    assert "it is plain" not in held
    assert page.sources == [CLEAN, STRESSED, DIFFERENCE, CLEAN, COLD, STRESSED, HOT]


def test_without_such_pictures_there_is_no_section_for_them() -> None:
    assert Page(verdict("pass"), verdict(pictures=pictures())).headings == [
        "gates",
        "failures",
        "numbers",
        "environment",
    ]


def test_why_it_says_so_has_both_sides_with_what_changed() -> None:
    own = explained(
        side(parts=(3, 7)),
        side("alpha 0.2", "dog", probability=0.5, parts=(7, 12)),
        method="Lime()",
        overlap=0.125,
    )
    page = Page(verdict("pass", gate="own-rule", explained=(own,)))
    assert page.headings == ["gates", "explained", "numbers", "environment"]
    assert "Why it says so cat/1.png under Blend('spots.png') at alpha 0.2, by Lime() t.py::test" in page.said
    assert "cat, clean 4 x 4 values of stage 98.3 % superpixels 3, 7" in page.said
    assert "dog, alpha 0.2 4 x 4 values of stage 50.0 % superpixels 7, 12" in page.said
    assert "Superpixels lost: 3. Gained: 12." in page.said
    assert "Common to the top fifth of both: 0.12 (intersection over union)." in page.said
    assert page.sources == [CLEAN, COLD, CLEAN, COLD]


def test_of_a_clean_image_alone_nothing_is_said_of_a_stress() -> None:
    page = Page(verdict("pass", explained=(explained(case=""),)))
    assert "cat/1.png , by GradCAM() t.py::test cat, clean" in page.said
    assert " under " not in page.said
    assert "Common" not in page.said
    assert "lost" not in page.said


def test_nothing_lost_is_told_where_something_is_gained() -> None:
    own = explained(side(), side("alpha 0.2", "dog", parts=(5,)))
    assert "Superpixels lost: none. Gained: 5." in Page(verdict("pass", explained=(own,))).said


def test_what_must_not_be_believed_is_marked_once_and_has_no_overlay() -> None:
    note = "adjusted R2 0.110 (plain 0.401) over 150 samples, below 0.3"
    doubtful = side(believable=False, note=note, picture=Panel("cat, clean", CLEAN, "", note))
    for own in (doubtful, dataclasses.replace(doubtful, picture=None)):
        page = Page(verdict("pass", explained=(explained(own),)))
        assert page.said.count(note) == page.said.count("not to be believed") == 1
        assert page.classes.count("span.untrusted") == 1
        assert COLD not in page.sources


def test_an_explanation_without_pictures_keeps_its_words() -> None:
    own = explained(side(parts=(3,)), side("alpha 0.2", "dog"), overlap=0.25)
    page = Page(verdict("pass", explained=(own.without_pictures(),)))
    assert page.sources == []
    assert "clean: cat 98.3 % superpixels 3 4 x 4 values of stage" in page.said
    assert "alpha 0.2: dog 98.3 % 4 x 4 values of stage" in page.said
    assert "Common to the top fifth of both: 0.25 (intersection over union)." in page.said


def test_explanations_of_all_tests_are_in_one_section_in_their_order() -> None:
    page = Page(
        verdict(test="t.py::test_a", explained=(explained(image="cat/1.png"), explained(image="cat/2.png"))),
        verdict("pass", test="t.py::test_b", explained=(explained(image="cat/3.png"),)),
    )
    assert page.headings.count("explained") == 1
    assert page.classes.count("article.explained") == 3
    places = [page.said.index(f"cat/{number}.png under") for number in (1, 2, 3)]
    assert places == sorted(places)


def trace(name: str = "cat/1.png", overlay: str = HOT) -> Trace:
    frames = (Frame(0, 0.9, 0.1, 0.0, CLEAN, COLD), Frame(2, 0.4, 0.6, 2 / 255, STRESSED, overlay))
    return Trace(name, f"PGD() {name}", "linf", (name,), name, True, "reached", f"{name} 0.60", frames)


def test_frames_of_a_trace_have_their_overlay_over_them() -> None:
    page = Page(verdict("pass", traces=(trace(),)))
    assert page.sources == [CLEAN, COLD, STRESSED, HOT]
    assert page.text.count('<span class="overlay" hidden></span>') == 0
    frame = f'<img src="{STRESSED}" alt="cat/1.png at step 2"><img class="overlay" src="{HOT}" alt="">'
    assert page.text.count(f'<span class="frame">{frame}</span>') == 1
    bare = Page(verdict("pass", traces=(trace(overlay=""),)))
    assert bare.sources == [CLEAN, COLD, STRESSED]


def everything(name: str) -> tuple[Verdict, ...]:
    panels = tuple(Panel(name, CLEAN, HOT, name) for _ in range(3))
    own = pictures(name, *panels, Panel(name, note=name))
    one = Side(name, name, 0.5, name, believable=True, picture=panels[0])
    sides = (one, dataclasses.replace(one, believable=False), dataclasses.replace(one, picture=None))
    whole = Explained(name, name, name, sides, 0.5)
    return (
        verdict(claim=name, reason=name, pictures=own, traces=(trace(name),), explained=(whole,)),
        verdict("pass", claim=f"{name} too", test=name, pictures=own, explained=(whole.without_pictures(),)),
    )


def test_every_name_of_a_users_stays_text() -> None:
    page, plain = (Page(*everything(name)) for name in (HOSTILE, "plain"))
    assert HOSTILE not in page.text
    assert HOSTILE in page.said
    # Nothing but words differs.
    assert page.tags == plain.tags
    assert page.sources == plain.sources


def test_the_page_fetches_nothing() -> None:
    page = Page(*everything("plain"))
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert all(source.startswith(PREFIX) for source in page.sources)
    for reference in ("url(", "@import", "http:", "https:", "srcset"):
        assert reference not in page.text


def counted(images: int, explanations: int, *, traces: int = 0) -> Verdict:
    shown = [picture for number in range(images) for picture in pictures(f"cat/{number}.png")]
    looked_at = explained(side(), side("alpha 0.2", "dog", parts=(7,)), overlap=0.5)
    return verdict(pictures=tuple(shown), traces=(trace(),) * traces, explained=(looked_at,) * explanations)


def left(gallery: Gallery, nodeid: str, own: Verdict) -> list[int]:
    """How many images, traces and explanations are shown."""
    (kept,) = gallery.hang(nodeid, [own])
    explanations = sum(any(one.picture for one in found.sides) for found in kept.explained)
    return [len(kept.pictures) // 2, sum(bool(found.frames[0].png) for found in kept.traces), explanations]


@pytest.mark.parametrize(
    ("limit", "shown"),
    [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [2, 0, 0]), (3, [2, 1, 0]), (4, [2, 1, 1]), (5, [2, 1, 2]), (9, [2, 1, 2])],
)
def test_an_explanation_takes_the_place_of_an_image_after_failures_and_traces(limit: int, shown: list[int]) -> None:
    gallery = Gallery(limit=limit, per_test=9)
    own = counted(2, 2, traces=1)
    gallery.take("test_a", [own])
    assert gallery.room("test_b") == limit - sum(shown)
    assert left(gallery, "test_a", own) == shown


def test_an_explanation_without_room_keeps_its_numbers() -> None:
    gallery = Gallery(limit=1, per_test=1)
    own = counted(0, 2)
    gallery.take("test_a", [own])
    (kept,) = gallery.hang("test_a", [own])
    assert kept.explained == (own.explained[0], own.explained[1].without_pictures())
    numbers = [(found.overlap, found.gained, found.sides[1].probability) for found in kept.explained]
    assert numbers == [(0.5, (7,), 0.98345)] * 2


def test_an_explanation_without_pictures_takes_no_room() -> None:
    gallery = Gallery(limit=1, per_test=1)
    bare = dataclasses.replace(counted(0, 1), explained=(explained(side(picture=None)),))
    gallery.take("test_a", [bare])
    assert gallery.room("test_b") == 1
    own = dataclasses.replace(counted(0, 1), explained=(*bare.explained, *counted(0, 1).explained))
    gallery.take("test_a", [own])
    assert left(gallery, "test_a", own) == [0, 0, 1]


def test_an_item_may_picture_what_a_test_may_as_long_as_there_is_room() -> None:
    """What an item makes first must not decide what stays of it."""
    gallery = Gallery(limit=4, per_test=3)
    assert gallery.allowance("test_b") == 3
    gallery.take("test_a", [counted(3, 0)])
    assert (gallery.room("test_b"), gallery.allowance("test_b")) == (1, 3)
    gallery.take("test_b", [counted(2, 1)])
    assert left(gallery, "test_b", counted(2, 1)) == [1, 0, 0]
    assert gallery.allowance("test_c") == 0
    assert Gallery(limit=2, per_test=5).allowance("test_a") == 2
    assert Gallery(limit=0).allowance("test_a") == 0
