"""What WeasyPrint 70 leaves wrong in a tagged or archival PDF, mended before it is written.

Each rule is a finding of a validator. `finish` is given the PDF's objects; nothing is parsed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydyf

from counterfoil.adapters.pdf.writing import write_once

_ARTIFACT = {"Type": "/Pagination"}
# What a page announces once. WeasyPrint tags the box around a table as a table too, and a block
# inside a heading as a heading.
_ONCE = {"/Table": ("/Div", "/Table"), "/H1": ("/H1", "/Span")}


def finish(document: Any, pdf: Any) -> None:
    """Mend the PDF."""
    _mark_what_repeats(pdf)
    _announce_once(pdf)
    _list_ids(pdf)
    _drop_empty_resources(pdf)
    _name_files_once(pdf)
    if hasattr(document.font_config, "kept"):  # the libraries are those that `faster` measured
        write_once(pdf)


def _mark_what_repeats(pdf: Any) -> None:
    """Headers, footers and page numbers are artifacts (ISO 32000-1, 14.8.2.2): read aloud once a
    page they would be noise. Stock output tags them with elements that no tree reaches.
    """
    tree = pdf.catalog.get("StructTreeRoot")
    if tree is None:
        return
    root = _object(pdf, tree)
    reached = set(_reached(pdf, root))
    lost: dict[str, set[int]] = {}
    for number, element in enumerate(pdf.objects):
        is_element = isinstance(element, dict) and element.get("Type") == "/StructElem"
        if is_element and number not in reached:
            lost.setdefault(element["Pg"], set()).update(
                kid for kid in element["K"] if isinstance(kid, int)
            )
            # Emptied, not freed: pydyf would count the objects behind it wrongly.
            element.clear()
    parents = _object(pdf, root["ParentTree"])["Nums"]
    for reference, marks in lost.items():
        page = _object(pdf, reference)
        stream = _object(pdf, page["Contents"])
        _as_artifacts(stream.stream, marks)
        entries = parents[parents.index(page["StructParents"]) + 1]
        for mark in marks:
            entries[mark] = "null"


def _as_artifacts(parts: list[Any], marks: set[int]) -> None:
    """Let marks begin an artifact: pydyf writes each as a tag, its properties, and BDC."""
    for place, properties in enumerate(parts):
        if isinstance(properties, dict) and properties.get("MCID") in marks:
            parts[place - 1 : place + 1] = ["/Artifact", pydyf.Dictionary(_ARTIFACT)]


def _reached(pdf: Any, root: Any) -> Iterator[int]:
    waiting = list(root["K"])
    while waiting:
        kid = waiting.pop()
        if (number := _number(kid)) is not None:
            element = pdf.objects[number]
            if isinstance(element, dict) and element.get("Type") == "/StructElem":
                yield number
                waiting.extend(element.get("K", ()))


def _announce_once(pdf: Any) -> None:
    for element in _elements(pdf):
        outer, inner = _ONCE.get(element["S"], (None, None))
        for kid in element["K"] if outer else ():
            below = _object(pdf, kid)
            if isinstance(below, dict) and below.get("S") == element["S"]:
                element["S"], below["S"] = outer, inner
                break


def _list_ids(pdf: Any) -> None:
    """Elements with ids are found by a tree of them (ISO 32000-1, table 322)."""
    found = sorted((element["ID"].data, element) for element in _elements(pdf) if "ID" in element)
    if not found:
        return
    names = pydyf.Array()
    for _, element in found:
        names.extend((element["ID"], element.reference))
    limits = pydyf.Array((found[0][1]["ID"], found[-1][1]["ID"]))
    leaf = pydyf.Dictionary({"Limits": limits, "Names": names})
    pdf.add_object(leaf)
    _object(pdf, pdf.catalog["StructTreeRoot"])["IDTree"] = pydyf.Dictionary(
        {"Kids": pydyf.Array((leaf.reference,))}
    )


def _elements(pdf: Any) -> list[Any]:
    return [
        one for one in pdf.objects if isinstance(one, dict) and one.get("Type") == "/StructElem"
    ]


def _drop_empty_resources(pdf: Any) -> None:
    """An empty dictionary of patterns or shadings is one more thing for a validator to doubt."""
    for holder in pdf.objects:
        resources = holder if isinstance(holder, dict) else getattr(holder, "extra", {})
        for place in (resources, resources.get("Resources")):
            if isinstance(place, dict):
                for name in ("Pattern", "Shading", "XObject", "ExtGState"):
                    if isinstance(place.get(name), dict) and not place[name]:
                        del place[name]


def _name_files_once(pdf: Any) -> None:
    """PDF/A-3 wants every file associated (6.8); stock output associates each one twice."""
    if "AF" in pdf.catalog:
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))


def _object(pdf: Any, reference: Any) -> Any:
    number = _number(reference)
    return pdf.objects[number] if number is not None else reference


def _number(reference: object) -> int | None:
    if isinstance(reference, bytes) and reference.endswith(b" 0 R"):
        return int(reference[:-4])
    return None
