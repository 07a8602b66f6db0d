"""`workbench fit`: whether a model fits in memory, before it is loaded."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

from workbench.cli.composition import Workers, compose, find_file
from workbench.cli.options import add_json, settings
from workbench.cli.output import print_json, print_table, say
from workbench.core.models import LoadRecord
from workbench.core.parameters import LoadSettings, check_value
from workbench.core.speculation import draft_model
from workbench.core.units import size_text
from workbench.engine.advice import draft_path
from workbench.gguf.check import check_loadable
from workbench.gguf.draft import Draft
from workbench.gguf.fit import FitModel, FitQuestion
from workbench.gguf.header import Header
from workbench.gguf.lora import check_adapter
from workbench.gguf.placement import check_devices, idle_overrides
from workbench.gguf.shares import Fit, Room, Share

PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "total_bytes")
"""The parts of the memory that a model needs, as `Fit` and `Share` call them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "The memory that a model needs with a given context length, against the memory that is free now. Nothing is "
        "loaded. All load parameters matter but the numbers of threads."
    )
    parser.add_argument("file", metavar="FILE", help="a .gguf file, or the name of a model")
    parser.add_argument("--ctx", type=int, metavar="N", help="the context length in tokens")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="such as type_k=q8_0")
    parser.set_defaults(seed=None, max_tokens=None, format=None, schema=None, grammar=None)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the memory that the model needs; the exit status is 0 whether it fits or not."""
    workers = compose()
    entry, path = find_file(workers, options.file)
    _, load = settings(options, workers.config, entry.recipe)
    if options.ctx is not None:
        check_value("num_ctx", options.ctx)
        load = replace(load, num_ctx=options.ctx)
    headers = check_loadable(path)
    adapter = None if entry.adapter_path is None else check_adapter(entry.adapter_path, headers)

    from workbench.engine.llama.devices import look_at_machine
    from workbench.engine.llama.plan import room_on

    machine = look_at_machine()
    model, room = FitModel(headers, machine.repacked, adapter), room_on(machine)
    model.correction = asyncio.run(workers.loads.correction(model.architecture))
    last = next(iter(asyncio.run(workers.loads.recall(str(path)))), None)
    question = model.question(load)
    beside = _draft_shares(load, workers, headers[0], question.n_ctx, room)
    room = room.without(beside)
    fit = model.price(question, room)
    if room.gpus and load.num_gpu:
        check_devices(load, [gpu.name for gpu in room.gpus])
    largest, most = model.largest_context(question, room), model.most_layers(question, room)
    experts = model.fewest_cpu_experts(question, room)
    if options.json:
        print_json(_as_json(question, fit, largest, most, experts, model) | _of_loads(model, last) | _of_draft(beside))
    else:
        _print(question, fit, largest, most, experts, model)
        _print_draft(load, beside)
        _print_loads(model, last)
        for override in idle_overrides(load.override_tensor, model.tensors):
            say(f"override_tensor {override} matches no tensor of this model")
    return 0


def _draft_shares(load: LoadSettings, workers: Workers, target: Header, n_ctx: int, room: Room) -> Sequence[Share]:
    """The memory of the draft model that these settings name; none for none."""
    if not (named := draft_model(load.speculation)):
        return ()
    draft = Draft.checked(draft_path(workers.catalog.resolve, named), target)
    return draft.settings(load, n_ctx, room)[1]


def _of_draft(shares: Sequence[Share]) -> dict[str, object]:
    return {"draft_bytes": sum(share.total_bytes for share in shares)}


def _print_draft(load: LoadSettings, shares: Sequence[Share]) -> None:
    if shares:
        taken = size_text(sum(share.total_bytes for share in shares))
        say(f"the draft model {load.speculation} takes {taken} more, which is not in the table")


def _as_json(
    question: FitQuestion, fit: Fit, largest: int, most: int, experts: int | None, model: FitModel
) -> dict[str, object]:
    return {
        **{part: getattr(fit, part) for part in PARTS},
        "adapter_bytes": model.adapter_bytes,
        "free_bytes": fit.free_bytes,
        "fits": fit.fits,
        "refusal": str(fit.refusal) if fit.refusal else None,
        "largest_ctx": largest,
        "ctx": question.n_ctx,
        "trained_ctx": model.trained_context,
        "type_k": question.type_k,
        "type_v": question.type_v,
        "flash_attention": question.flash_attention,
        "swa_full": question.full_window,
        "swa_full_bytes": model.full_window_bytes(question),
        "gpu_layers": fit.gpu_layers,
        "most_gpu_layers": most,
        "cpu_experts": question.cpu_experts,
        "fewest_cpu_experts": experts,
        "expert_layers": model.expert_layers,
        "kv_on_gpus": question.kv_on_gpus,
        "ubatch": question.ubatch,
        "layers": model.layers,
        "devices": [
            asdict(share.device) | {part: getattr(share, part) for part in PARTS} | {"fits": share.fits}
            for share in fit.shares
        ],
    }


def _of_loads(model: FitModel, last: LoadRecord | None) -> dict[str, object]:
    """What earlier loads took: the factors that were applied, and the buffers of the last load of this file."""
    buffers = None if last is None else [asdict(each) | {"error": each.error} for each in last.compared]
    return {"correction": dict(model.correction), "last_load": buffers}


def _print_loads(model: FitModel, last: LoadRecord | None) -> None:
    if model.correction:
        factors = ", ".join(f"{purpose} x{factor:.3f}" for purpose, factor in model.correction.items())
        say(f"corrected by what the last {model.architecture} took: {factors}")
    if last is not None and last.compared:
        say("\nthe last load of this file:")
        rows = [(each.device, each.purpose, size_text(each.estimated), size_text(each.taken)) for each in last.compared]
        print_table(("device", "buffer", "estimated", "taken"), rows)


def _print(question: FitQuestion, fit: Fit, largest: int, most: int, experts: int | None, model: FitModel) -> None:
    rows = [
        (
            share.device.name,
            *(size_text(getattr(share, part)) for part in PARTS),
            size_text(max(0, share.device.free_bytes - share.device.reserve_bytes)),
            "fits" if share.fits else "does not fit",
        )
        for share in fit.shares
    ]
    print_table(("device", "weights", "KV cache", "compute", "total", "usable", ""), rows)
    if model.adapter_bytes:
        say(f"\nthe weights include {size_text(model.adapter_bytes)} of the adapter")
    trained = f" of {model.trained_context:,} that it was trained for" if model.trained_context else ""
    if fit.refusal:
        say(f"\nllama.cpp refuses these settings: {fit.refusal}")
        return
    say(f"\ncontext {question.n_ctx:,}: {'it fits' if fit.fits else 'it does not fit'}")
    say(f"largest context that fits: {f'{largest:,}' if largest else 'none'}{trained}")
    if price := model.full_window_bytes(question):
        taken = "of the KV cache are the price of" if question.full_window else "more would be taken by"
        say(f"{size_text(price)} {taken} swa_full: window layers with the whole context")
    if len(fit.shares) > 1 or most:
        say(f"layers on GPUs: {fit.gpu_layers} of {model.layers}; at most {most} fit")
        if model.expert_layers:
            least = "is not enough" if experts is None else f"is enough for the first {experts}"
            say(f"all layers on GPUs: with experts on the CPU (num_cpu_moe) {least} of {model.expert_layers}")
