"""The addresses of the server, each a question and its answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse

from cryolatent.explore.answers import (
    map_message,
    nearest_answer,
    selection_answer,
    table_answer,
)
from cryolatent.explore.describing import described
from cryolatent.explore.explored import Explored
from cryolatent.explore.exporting import write_selection, write_states
from cryolatent.explore.images import images_message
from cryolatent.explore.marks import StateMarks, read_marks, write_marks
from cryolatent.explore.questions import (
    ExportQuestion,
    ImagesQuestion,
    MapQuestion,
    NearestQuestion,
    SectionsQuestion,
    StatesQuestion,
    TableQuestion,
    VolumeFileQuestion,
    VolumeQuestion,
)
from cryolatent.explore.selection import Selection
from cryolatent.explore.volumes import sections_message, volume_message, write_one

BINARY = "application/octet-stream"
router = APIRouter(prefix="/api/runs")


@dataclass(frozen=True)
class Table:
    """What lies on the table.

    Args:
        runs: The runs that are looked at.
        exports: The one folder that is written to.
    """

    runs: tuple[Explored, ...]
    exports: Path


def table_of(request: Request) -> Table:
    """What the application was made with."""
    return cast(Table, request.app.state.table)


OnTable = Annotated[Table, Depends(table_of)]


def run_of(number: int, table: OnTable) -> Explored:
    """The run of an address."""
    if not 0 <= number < len(table.runs):
        raise HTTPException(404, "no such run")
    return table.runs[number]


One = Annotated[Explored, Depends(run_of)]


@router.get("")
def _runs(table: OnTable) -> list[dict[str, Any]]:
    return [described(one, table.exports) for one in table.runs]


@router.get("/{number}/columns")
def _columns(one: One) -> list[dict[str, Any]]:
    return [column.described() for column in one.columns(of_file=True)]


@router.get("/{number}/files/{name:path}")
def _file(one: One, name: str) -> FileResponse:
    path = one.file(name)
    return FileResponse(path, media_type=BINARY, filename=path.name)


@router.post("/{number}/map")
def _map(one: One, question: MapQuestion) -> Response:
    return Response(map_message(one, question), media_type=BINARY)


@router.post("/{number}/selection")
def _selection(one: One, question: Selection) -> dict[str, Any]:
    return selection_answer(one, question)


@router.post("/{number}/nearest")
def _nearest(one: One, question: NearestQuestion) -> dict[str, Any]:
    return nearest_answer(one, question)


@router.post("/{number}/volume")
def _volume(one: One, question: VolumeQuestion) -> Response:
    return Response(volume_message(one, question), media_type=BINARY)


@router.post("/{number}/sections")
def _sections(one: One, question: SectionsQuestion) -> Response:
    return Response(sections_message(one, question), media_type=BINARY)


@router.post("/{number}/volume/file")
def _volume_file(one: One, table: OnTable, question: VolumeFileQuestion) -> dict[str, Any]:
    return write_one(one, question, table.exports)


@router.post("/{number}/table")
def _table(one: One, question: TableQuestion) -> Response:
    return Response(table_answer(one, question), media_type="text/csv")


@router.post("/{number}/marks")
def _marks(one: One, table: OnTable, question: StateMarks) -> dict[str, Any]:
    write_marks(one.marks_path(table.exports), question)
    return question.model_dump()


@router.post("/{number}/states")
def _states(one: One, table: OnTable, question: StatesQuestion) -> list[dict[str, Any]]:
    marks = read_marks(one.marks_path(table.exports))
    written = write_states(one, marks, table.exports, question.name, question.kind)
    return [done.described() for done in written]


@router.post("/{number}/images")
def _images(one: One, question: ImagesQuestion) -> Response:
    return Response(images_message(one, question), media_type=BINARY)


@router.post("/{number}/export")
def _export(one: One, table: OnTable, question: ExportQuestion) -> dict[str, Any]:
    chosen = one.mask(question.selection)
    return write_selection(one, chosen, table.exports, question.name, question.kind).described()
