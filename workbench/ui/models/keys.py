"""The keys of the Models screen, and those of its panel; each runs an action of `ModelsScreen`."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from workbench.ui.keys import key


def _what_if(name: str, keys: str, change: str, label: str, tooltip: str, *, show: bool = False) -> Binding:
    """A key that tries other settings; `change` is what `ModelsScreen.what_if` takes."""
    action = f"screen.what_if({change})"
    return key(f"models.{name}", keys, label, f"What if: {tooltip}", action=action, show=show)


# fmt: off
KEYS: list[BindingType] = [
    key("models.load", "l", "Load", "Load the model in the chat; the conversation continues with it."),
    key("models.search", "slash", "Search", "Find models by a few letters.", action="type('search')"),
    key("models.sort", "s", "Sort", "Sort by the next column.", action="arrange('order')"),
    key("models.source", "f", "Filter",
        "Show only the models of the next source; after the last one, all models.", action="arrange('source')"),
    key("models.mark", "space", "Mark", "Mark the model; two can be compared."),
    key("models.compare", "c", "Compare",
        "Compare the two marked models, or the marked one with the selected one.", action="act('compare')"),
    key("models.quantize", "m", "Quantize", "Make another quantization of the model.", action="act('quantize')"),
    key("models.tune", "ctrl+l", "Tune",
        "Find the fastest settings of the model that fit, and its speed by context depth.",
        action="act('tune')", show=False),
    key("models.load_with", "L", "Load with these settings",
        "Load the model with the settings on trial; the conversation keeps them.", action="load(True)"),
    key("models.pull", "D", "Download",
        "Search Hugging Face, fetch models, and show the downloads.", action="app.pull"),
    key("models.details", "tab", "Panel", "Go to the panel and back; on a narrow screen, show it."),
    key("models.back", "escape", "Back",
        "End the search, close the panel, then clear the marks and the filter.", show=False),
    key("models.turn", "S", "Reverse", "Reverse the order.", action="arrange('reverse')", show=False),
    key("models.filter", "F", "Filters",
        "Show only the models of one source, of one architecture, or in one state.", show=False),
    key("models.group", "t", "Group",
        "Show quantizations under their models, or every file in one row.", action="arrange('groups')", show=False),
    key("models.fold", "left", "Fold", "Fold the selected group.", action="arrange('fold')", show=False),
    key("models.unfold", "right", "Unfold", "Unfold the selected group.", action="arrange('unfold')", show=False),
    key("models.fold_all", "z", "Fold all",
        "Fold all groups, or unfold all.", action="arrange('all_folds')", show=False),
    key("models.unload", "u", "Unload", "Ask the server to unload the selected model.", show=False),
    key("models.copy", "y", "Copy path", "Copy the path of the selected model.", action="act('copy')", show=False),
    key("models.verify", "V", "Verify",
        "Check the digest and the data of the selected model's files, and offer to repair them.",
        action="file('verify')", show=False),
    key("models.share", "T", "Use there too",
        "Use the selected model from another program too, by a link: nothing is copied.",
        action="file('share')", show=False),
    key("models.join", "J", "Join copies",
        "Let the copies of the selected model in several places share their space, after a question.",
        action="file('join')", show=False),
    key("models.delete", "d,delete", "Delete",
        "Delete the selected model, after a question that says who else loses it.",
        action="file('delete')", show=False),
    key("models.folder", "A", "Add a folder",
        "Add a folder to those that are searched for models; the config file keeps it.",
        action="act('folder')", show=False),
    key("models.scan", "f9,r", "Run", "Look for models again.", show=False),
    key("models.problems", "exclamation_mark", "Problems",
        "List the places that could not be read.", action="act('problems')", show=False),
]
WHAT_IF: list[BindingType] = [
    _what_if("shorter", "left_square_bracket", "'num_ctx', -1", "Shorter", "half the context.", show=True),
    _what_if("longer", "right_square_bracket", "'num_ctx', 1", "Longer", "twice the context.", show=True),
    key("models.number", "number_sign", "Context",
        "What if: type the context, such as 16384 or 16k; a digit begins it too.",
        action="screen.type('number')", show=False),
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
    key("models.fullest", "X", "Fill the GPUs",
        "Try the most on the GPUs: all layers with the fewest experts on the CPU, or the most layers.",
        action="screen.what_if('fullest')", show=False),
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
