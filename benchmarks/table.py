"""Print the records of benchmarks/results as one Markdown table.

python -m benchmarks.table
"""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
HEADER = (
    "| data set | method | core-s | wall s | MB | ARI [95 %] | FSC area | date, load | note |\n"
    "|---|---|---:|---:|---:|---|---|---|---|"
)


def main() -> None:
    """Print the table."""
    print(HEADER)
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        if isinstance(record, dict) and "wall_seconds" in record:
            print(row(record))


def row(record: dict[str, Any]) -> str:
    """Render a record.

    Args:
        record: The content of a JSON file.

    Returns:
        A row of the table.
    """
    ari = "–"
    if record["ari"] is not None:
        ari = f"{record['ari']:.3f} [{record['ari_low']:.3f}, {record['ari_high']:.3f}]"
    area = "–" if record["fsc_area"] is None else f"{record['fsc_area']:.3f}"
    return (
        f"| {record['cell']} | {record['method']} | {record['cpu_seconds']:.0f} "
        f"| {record['wall_seconds']:.0f} | {record['peak_memory_mb']:.0f} | {ari} | {area} "
        f"| {record['date']}, {record['load_average']:.1f} | {record['note']} |"
    )


if __name__ == "__main__":
    main()
