"""The addresses of the server, each a question and its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse

from cryolatent.errors import InputError
from cryolatent.explore.answers import (
    map_message,
    nearest_answer,
    selection_answer,
    table_answer,
)
from cryolatent.explore.comparing import contingency_answer, sets_answer
from cryolatent.explore.describing import described
from cryolatent.explore.explored import Explored
from cryolatent.explore.exporting import write_selection, write_states
from cryolatent.explore.images import images_message
from cryolatent.explore.in_training import InTraining
from cryolatent.explore.kinship import kinship
from cryolatent.explore.marks import StateMarks, read_marks, write_marks
from cryolatent.explore.paths import path_answer, write_path
from cryolatent.explore.questions import (
    AcrossQuestion,
    DraftQuestion,
    ExportQuestion,
    ImagesQuestion,
    MapQuestion,
    NearestQuestion,
    PathFilesQuestion,
    PathQuestion,
    SectionsQuestion,
    SetsQuestion,
    StatesQuestion,
    TableQuestion,
    VolumeFileQuestion,
    VolumeQuestion,
)
from cryolatent.explore.selection import Selection
from cryolatent.explore.volumes import draft_message, sections_message, volume_message, write_one

BINARY = "application/octet-stream"
router = APIRouter(prefix="/api/runs")


Shown = Explored | InTraining


@dataclass
class Table:
    """What lies on the table.

    Args:
        runs: The runs that are looked at.
        exports: The one folder that is written to.
        again: Reads one of the runs again.
    """

    runs: Sequence[Shown]
    exports: Path
    again: Callable[[Sequence[Shown], int], Sequence[Shown]]


def table_of(request: Request) -> Table:
    """What the application was made with."""
    return cast(Table, request.app.state.table)


OnTable = Annotated[Table, Depends(table_of)]


def shown_of(number: int, table: OnTable) -> Shown:
    """The run of an address, in training or not."""
    if not 0 <= number < len(table.runs):
        raise HTTPException(404, "no such run")
    return table.runs[number]


def run_of(shown: Annotated[Shown, Depends(shown_of)]) -> Explored:
    """The finished run of an address."""
    if isinstance(shown, InTraining):
        raise InputError(shown.run.path, shown.sentence, "an analysed run", "Read it again later.")
    return shown


def draft_of(shown: Annotated[Shown, Depends(shown_of)]) -> InTraining:
    """The run in training of an address."""
    if isinstance(shown, Explored):
        raise InputError(shown.run.path, "a finished run", "one in training", "Load the page.")
    return shown


One = Annotated[Explored, Depends(run_of)]
Draft = Annotated[InTraining, Depends(draft_of)]


@router.get("")
def _runs(table: OnTable) -> list[dict[str, Any]]:
    kin = kinship([one.run for one in table.runs])
    return [
        (one.described() if isinstance(one, InTraining) else described(one, table.exports))
        | {"kin": said}
        for one, said in zip(table.runs, kin, strict=True)
    ]


@router.post("/{number}/again")
def _again(number: int, table: OnTable, shown: Annotated[Shown, Depends(shown_of)]) -> None:
    table.runs = table.again(table.runs, number)


@router.post("/{number}/draft")
def _draft(draft: Draft, question: DraftQuestion) -> Response:
    return Response(draft_message(draft, question), media_type=BINARY)


@router.post("/{number}/contingency")
def _contingency(one: One, question: AcrossQuestion) -> dict[str, Any]:
    return contingency_answer(one, question)


@router.post("/{number}/sets")
def _sets(one: One, question: SetsQuestion) -> dict[str, Any]:
    return sets_answer(one, question)


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


@router.post("/{number}/path")
def _path(one: One, question: PathQuestion) -> dict[str, Any]:
    return path_answer(one, question)


@router.post("/{number}/path/files")
def _path_files(one: One, table: OnTable, question: PathFilesQuestion) -> dict[str, Any]:
    return write_path(one, question, table.exports)


@router.post("/{number}/images")
def _images(one: One, question: ImagesQuestion) -> Response:
    return Response(images_message(one, question), media_type=BINARY)


@router.post("/{number}/export")
def _export(one: One, table: OnTable, question: ExportQuestion) -> dict[str, Any]:
    chosen = one.mask(question.selection)
    return write_selection(one, chosen, table.exports, question.name, question.kind).described()
