"""The keys of the Models screen, and those of its panel; each runs an action of `ModelsScreen`."""

from __future__ import annotations

from textual.binding import Binding, BindingType


def _what_if(name: str, keys: str, change: str, label: str, tooltip: str, *, show: bool = False) -> Binding:
    """A key that tries other settings; `change` is what `ModelsScreen.what_if` takes."""
    action = f"screen.what_if({change})"
    return Binding(keys, action, label, id=f"models.{name}", tooltip=f"What if: {tooltip}", show=show)


# fmt: off
KEYS: list[BindingType] = [
    Binding("l", "load", "Load", id="models.load",
            tooltip="Load the model in the chat; the conversation continues with it."),
    Binding("slash", "type('search')", "Search", id="models.search", tooltip="Find models by a few letters."),
    Binding("s", "arrange('order')", "Sort", id="models.sort", tooltip="Sort by the next column."),
    Binding("f", "arrange('source')", "Filter", id="models.source",
            tooltip="Show only the models of the next source; after the last one, all models."),
    Binding("space", "mark", "Mark", id="models.mark", tooltip="Mark the model; two can be compared."),
    Binding("c", "act('compare')", "Compare", id="models.compare",
            tooltip="Compare the two marked models, or the marked one with the selected one."),
    Binding("m", "act('quantize')", "Quantize", id="models.quantize",
            tooltip="Make another quantization of the model."),
    Binding("ctrl+l", "act('tune')", "Tune", id="models.tune", show=False,
            tooltip="Find the fastest settings of the model that fit, and its speed by context depth."),
    Binding("L", "load(True)", "Load with these settings", id="models.load_with",
            tooltip="Load the model with the settings on trial; the conversation keeps them."),
    Binding("D", "app.pull", "Download", id="models.pull",
            tooltip="Search Hugging Face, fetch models, and show the downloads."),
    Binding("tab", "details", "Panel", id="models.details",
            tooltip="Go to the panel and back; on a narrow screen, show it."),
    Binding("escape", "back", "Back", id="models.back", show=False,
            tooltip="End the search, close the panel, then clear the marks and the filter."),
    Binding("S", "arrange('reverse')", "Reverse", id="models.turn", show=False, tooltip="Reverse the order."),
    Binding("F", "filter", "Filters", id="models.filter", show=False,
            tooltip="Show only the models of one source, of one architecture, or in one state."),
    Binding("t", "arrange('groups')", "Group", id="models.group", show=False,
            tooltip="Show quantizations under their models, or every file in one row."),
    Binding("left", "arrange('fold')", "Fold", id="models.fold", show=False, tooltip="Fold the selected group."),
    Binding("right", "arrange('unfold')", "Unfold", id="models.unfold", show=False,
            tooltip="Unfold the selected group."),
    Binding("z", "arrange('all_folds')", "Fold all", id="models.fold_all", show=False,
            tooltip="Fold all groups, or unfold all."),
    Binding("u", "unload", "Unload", id="models.unload", show=False,
            tooltip="Ask the server to unload the selected model."),
    Binding("y", "act('copy')", "Copy path", id="models.copy",
            show=False, tooltip="Copy the path of the selected model."),
    Binding("V", "file('verify')", "Verify", id="models.verify", show=False,
            tooltip="Check the digest and the data of the selected model's files, and offer to repair them."),
    Binding("T", "file('share')", "Use there too", id="models.share", show=False,
            tooltip="Use the selected model from another program too, by a link: nothing is copied."),
    Binding("J", "file('join')", "Join copies", id="models.join", show=False,
            tooltip="Let the copies of the selected model in several places share their space, after a question."),
    Binding("d,delete", "file('delete')", "Delete", id="models.delete", show=False,
            tooltip="Delete the selected model, after a question that says who else loses it."),
    Binding("A", "act('folder')", "Add a folder", id="models.folder", show=False,
            tooltip="Add a folder to those that are searched for models; the config file keeps it."),
    Binding("f9,r", "scan", "Run", id="models.scan", show=False, tooltip="Look for models again."),
    Binding("exclamation_mark", "act('problems')", "Problems", id="models.problems", show=False,
            tooltip="List the places that could not be read."),
]
WHAT_IF: list[BindingType] = [
    _what_if("shorter", "left_square_bracket", "'num_ctx', -1", "Shorter", "half the context.", show=True),
    _what_if("longer", "right_square_bracket", "'num_ctx', 1", "Longer", "twice the context.", show=True),
    Binding("number_sign", "screen.type('number')", "Context", id="models.number", show=False,
            tooltip="What if: type the context, such as 16384 or 16k; a digit begins it too."),
    _what_if("longest", "right_curly_bracket", "'longest'", "Longest context", "the longest context that fits."),
    _what_if("type_k", "K", "'type_k'", "K type", "another type of the keys in the KV cache."),
    _what_if("type_v", "v", "'type_v'", "V type", "another type of the values in the KV cache."),
    _what_if("fewer_layers", "minus", "'num_gpu', -1", "Fewer GPU layers", "one layer fewer on the GPUs."),
    _what_if("more_layers", "plus,equals_sign", "'num_gpu', 1", "More GPU layers", "one layer more on the GPUs."),
    _what_if("flash", "a", "'flash_attn'", "Flash attention", "flash attention on, off, or decided by llama.cpp."),
    _what_if("batch", "b", "'num_batch'", "Batch", "another batch size."),
    _what_if("micro_batch", "B", "'num_ubatch'", "Micro-batch", "another micro-batch size."),
    _what_if("load_mode", "i", "'load_mode'", "Load mode",
             "the file mapped, locked in memory, read directly, or read."),
    _what_if("fewer_experts", "E", "'num_cpu_moe', -1", "Fewer experts on the CPU",
             "the experts of one layer fewer on the CPU."),
    _what_if("more_experts", "e", "'num_cpu_moe', 1", "More experts on the CPU",
             "the experts of one layer more on the CPU."),
    Binding("X", "screen.what_if('fullest')", "Fill the GPUs", id="models.fullest", show=False,
            tooltip="Try the most on the GPUs: all layers with the fewest experts on the CPU, or the most layers."),
    _what_if("kv_offload", "o", "'offload_kqv'", "KV cache on the GPU",
             "the KV cache on the GPU, or in the memory of the host."),
    _what_if("devices", "P", "'devices'", "GPUs", "another GPU alone, or all of them."),
    _what_if("window", "w", "'swa_full'", "Window cache",
             "layers with a sliding window keep the window, or the whole context."),
    _what_if("reset", "0,backspace", "'reset'", "Reset", "back to the settings of the conversation.", show=True),
]
# fmt: on
"""The keys of the panel, which try other settings."""
SEARCH = next(key for key in KEYS if isinstance(key, Binding) and key.id == "models.search")
