"""report.html: one file that shows what was built, what was measured and how. It loads nothing from anywhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from accel.manifest import Manifest
from bench import fpga
from bench.accuracy import SAMPLES, Row, read_rows
from bench.drawing import NARROW, WIDE, pipeline_svg
from bench.fpga import Bar
from bench.published import published_for
from bench.results import RESULTS, RUN, Results, read_json, step_facts, write_text
from bench.samples import NO_LABEL
from bench.terminal import microseconds

REPORT = "report.html"
TEMPLATE = "report.html.j2"


def write_report(*, model_dir: Path, out_dir: Path, class_names: Sequence[str] = ()) -> Path:
    """Write ``out_dir/report.html`` from the manifest and, where they are, results.json and samples.csv.

    ``class_names`` name the rows of the confusion matrix. Raises `BenchError` or `ManifestError` for files that are
    broken.
    """
    manifest = Manifest.load(model_dir)
    results = Results.load(out_dir) if (out_dir / RESULTS).exists() else None
    rows = read_rows(out_dir / SAMPLES) if (out_dir / SAMPLES).exists() else []
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["time"] = microseconds
    html = environment.get_template(TEMPLATE).render(
        view(out_dir, manifest, results, rows, class_names), wide=WIDE, narrow=NARROW
    )
    path = out_dir / REPORT
    write_text(path, html)
    return path


def view(
    out_dir: Path, manifest: Manifest, results: Results | None, rows: Sequence[Row], class_names: Sequence[str]
) -> dict[str, Any]:
    """What the template shows."""
    run = read_json(out_dir / RUN) if (out_dir / RUN).exists() else {}
    streams = results.cycles.streams if results and results.cycles else []
    measured = (out_dir / RESULTS).stat().st_mtime if results else None
    facts = step_facts(manifest, out_dir)
    built = fpga.load(out_dir)
    counted = {} if built else facts["resources"]  # a bitstream has the whole SoC, the budget is the accelerator's
    labelled = [row for row in rows if row.label != NO_LABEL]
    many = bool(labelled) and len(labelled[0].scores) > 1
    return {
        "manifest": manifest,
        "results": results,
        "simulated": run.get("simulated", manifest.budget.board == "sim"),
        "date": datetime.fromtimestamp(measured).strftime("%d %B %Y") if measured else None,
        "cards": cards(manifest, results, len(rows)),
        "pictures": {width: pipeline_svg(manifest, streams, width=width) for width in (WIDE, NARROW)},
        "layers": layer_bars(manifest),
        "resources": resource_bars(manifest, counted),
        "stage": counted.get("stage", "estimate"),
        "inference": inference_bars(results),
        "windows": window_bars(results),
        "streams": stream_bars(manifest, results),
        "published": published_bars(manifest, results, run.get("simulated", False)),
        "matrix": confusion(labelled, class_names) if many else None,
        "scores": score_strip(labelled) if labelled and not many else None,
        "tools": sorted(facts["tools"].items(), key=lambda item: item[0].lower()),
        "steps": fpga.step_bars(facts["seconds"]),
        "fpga": fpga.view(built),
        "fmax_hz": None if built else facts["fmax_hz"],
    }


def cards(manifest: Manifest, results: Results | None, samples: int) -> list[tuple[str, str, str]]:
    """The headline: (name, number, what it means). ``samples``: how many the accuracy was taken over."""
    if results is None:
        macs = sum(layer.macs for node in manifest.pipeline for layer in node.layers)
        return [
            ("cycles, estimated", f"{manifest.estimate.cycles:,}", "first input beat to last output beat"),
            ("multiplications", f"{macs:,}", "an inference"),
        ]
    found: list[tuple[str, str, str]] = []
    if results.latency_us:
        found.append(("latency", microseconds(results.latency_us.median), "one inference, batch 1, median"))
        found.append(("throughput", f"{results.throughput_inf_per_s:,.0f}", "inferences a second, one after the other"))
    if results.cycles:
        found.append(("cycles", f"{results.cycles.accelerator:,}", "of the core, first input to last output"))
    if results.accuracy is not None:
        found.append(("Top-1", f"{100 * results.accuracy:.2f} %", f"of {samples:,} samples"))
    if results.auc is not None:
        found.append(("AUC", f"{results.auc:.4f}", "area under the ROC curve"))
    exact = results.bit_exact
    if exact.samples:
        equal = f"{exact.samples - exact.mismatches:,}"
        found.append(("bit exact", equal, f"of {exact.samples:,} samples equal the reference"))
    if results.golden is not None:
        equal = f"{results.golden.samples - results.golden.mismatches:,}"
        found.append(("golden", equal, f"of {results.golden.samples:,} samples equal the golden outputs"))
    return found


def layer_bars(manifest: Manifest) -> list[Bar]:
    """Cycles of each layer, and of each node that has none."""
    items: list[tuple[str, int, str, str]] = []
    for node in manifest.pipeline:
        for layer in node.layers:
            rate = f"{layer.macs:,} MAC, {layer.macs / max(layer.steps, 1):,.0f} a cycle"
            items.append((layer.name, layer.steps, rate, ""))
        rest = node.cycles - sum(layer.steps for layer in node.layers)
        if rest > 0:
            items.append((f"{node.node}: fill and drain" if node.layers else node.node, rest, "", "soft"))
    longest = max((cycles for _, cycles, _, _ in items), default=1) or 1
    return [Bar(name, 100 * cycles / longest, f"{cycles:,}", kind, detail) for name, cycles, detail, kind in items]


def resource_bars(manifest: Manifest, counted: dict[str, Any]) -> list[dict[str, Any]]:
    """For each resource: used, budget, and the share of each node."""
    found = []
    for name, label in (("lut", "LUT"), ("ff", "FF"), ("bram36", "BRAM36"), ("dsp", "DSP48E1")):
        budget = getattr(manifest.budget, name)
        used = counted.get(name, getattr(manifest.estimate, name))
        scale = max(budget, used, getattr(manifest.estimate, name)) or 1
        parts = [(node.node, 100 * getattr(node, name) / scale) for node in manifest.pipeline]
        found.append(
            {
                "label": label,
                "used": f"{used:,g}" if isinstance(used, float) else f"{used:,}",
                "budget": f"{budget:,g}" if isinstance(budget, float) else f"{budget:,}",
                "percent": 100 * used / scale,
                "share": f"{100 * used / budget:.0f} %" if budget else "",
                "limit": 100 * budget / scale,
                "parts": parts if counted.get("stage", "estimate") == "estimate" else [],
                "binding": manifest.budget.binding == name,
            }
        )
    return found


def inference_bars(results: Results | None) -> list[Bar]:
    """Where the cycles of one inference go: core, DMA, CPU."""
    if results is None or results.cycles is None or not results.cycles.inference:
        return []
    cycles = results.cycles
    parts = [
        ("core", cycles.accelerator, "", "first input beat to last output beat"),
        ("DMA", max(cycles.face - cycles.accelerator, 0), "second", "to the first beat and from the last"),
        ("CPU", max(cycles.inference - cycles.face, 0), "third", "start and known end"),
    ]
    total = sum(count for _, count, _, _ in parts) or 1
    return [Bar(name, 100 * count / total, f"{count:,}", kind, detail) for name, count, kind, detail in parts]


def window_bars(results: Results | None) -> list[Bar]:
    """Latency in each window."""
    if results is None or results.latency_us is None:
        return []
    latency = results.latency_us
    longest = max(latency.windows) or 1
    return [
        Bar(f"window {i}", 100 * us / longest, microseconds(us), "", f"{n:,} inferences in {microseconds(n * us)}")
        for i, (us, n) in enumerate(zip(latency.windows, latency.inferences, strict=True), 1)
    ]


def stream_bars(manifest: Manifest, results: Results | None) -> list[dict[str, Any]]:
    """Stall counters of each stream as a share of the core's cycles."""
    if results is None or results.cycles is None:
        return []
    names = [f"{link.producer or 'DMA'} → {link.consumer or 'DMA'}" for link in manifest.links]
    total = results.cycles.accelerator or 1
    return [
        {
            "name": names[i] if i < len(names) else f"stream {i}",
            "starved": starved,
            "blocked": blocked,
            "starved_percent": min(100 * starved / total, 100),
            "blocked_percent": min(100 * blocked / total, 100),
        }
        for i, (starved, blocked) in enumerate(results.cycles.streams)
    ]


def published_bars(manifest: Manifest, results: Results | None, simulated: bool) -> list[dict[str, Any]]:
    """Latency beside published ones, on a logarithmic scale, fastest first."""
    items: list[dict[str, Any]] = [
        {
            "what": entry.what,
            "where": entry.where,
            "us": entry.latency_us,
            "quality": entry.quality,
            "source": entry.source,
        }
        for entry in published_for(manifest.name, manifest.task)
        if entry.latency_us
    ]
    if not items or results is None or results.latency_us is None:
        return []
    quality = f"{100 * results.accuracy:.1f} %" if results.accuracy is not None else None
    board = "simulated" if simulated else results.board
    ours = {
        "what": results.model,
        "where": board,
        "us": results.latency_us.median,
        "quality": quality,
        "source": "this run",
    }
    items = sorted([*items, {**ours, "ours": True}], key=lambda item: float(item["us"]))
    logs = [math.log10(max(float(item["us"]), 1e-3)) for item in items]
    low, high = math.floor(min(logs) - 0.3), max(logs)
    for item, value in zip(items, logs, strict=True):
        item["percent"] = 100 * (value - low) / ((high - low) or 1)
        item["time"] = microseconds(float(item["us"]))
    return items


def confusion(rows: Sequence[Row], class_names: Sequence[str]) -> dict[str, Any]:
    """How often each class was taken for each: counts, and shares of the row for the colours."""
    classes = max(max(len(row.scores), 1 + row.label) for row in rows)
    counts = Counter((row.label, int(row.predicted)) for row in rows)
    names = [class_names[c] if c < len(class_names) else str(c) for c in range(classes)]
    lines = []
    for label in range(classes):
        total = sum(counts[label, c] for c in range(classes))
        cells = [
            {"count": counts[label, c], "share": counts[label, c] / total if total else 0.0, "right": c == label}
            for c in range(classes)
        ]
        recall = f"{100 * counts[label, label] / total:.0f} %" if total else ""
        lines.append({"name": names[label], "cells": cells, "total": total, "recall": recall})
    return {"names": names, "lines": lines, "samples": len(rows), "numeric": not class_names}


def score_strip(rows: Sequence[Row]) -> dict[str, Any]:
    """Scores of an anomaly detector on one axis, normal and anomalous apart; places in percent of the width."""
    scores = [row.values[0] for row in rows]
    low, high = min(scores), max(scores)
    places = [100 * (score - low) / ((high - low) or 1) for score in scores]
    apart = {label: [p for p, row in zip(places, rows, strict=True) if row.label == label] for label in (0, 1)}
    return {"low": f"{low:g}", "high": f"{high:g}", "normal": apart[0], "anomalous": apart[1]}
