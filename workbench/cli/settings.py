"""`workbench settings`: what is kept for a model, and where its other settings come from."""

from __future__ import annotations

import argparse

from workbench.cli.composition import compose
from workbench.cli.options import MODEL_HELP, add_json, add_settings, given_values, origins, settings, system_prompt
from workbench.cli.output import note_problems, print_json, say
from workbench.core.errors import ParameterError, did_you_mean
from workbench.core.kept import SYSTEM
from workbench.core.models import ModelEntry
from workbench.core.origins import settings_text, sourced_values
from workbench.core.servers import is_server_ref

ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Keep settings for a model: they apply whenever it is loaded, in the chat, by `run`, `compare` and `bench`. "
        "Without options, show them."
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    add_settings(parser)
    parser.add_argument(
        "--forget", action="append", default=[], metavar="NAME", help=f"remove a kept value; `{ALL}` removes them all"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Keep, remove and show."""
    workers = compose()
    note_problems(workers.problems, workers.paths.config_file)
    is_served = is_server_ref(options.model)
    name = options.model.partition("#")[2]
    if is_served and not name:
        raise ParameterError("The model of the server has no name here.", "Write http://HOST:PORT#MODEL.")
    model = ModelEntry(options.model, name) if is_served else workers.catalog.resolve(options.model)
    values = given_values(options) | ({} if options.system is None else {SYSTEM: options.system})
    before = workers.kept.of(model)
    unknown = next((each for each in options.forget if each not in (*before, *values, ALL)), None)
    if unknown is not None:
        raise ParameterError(f"{unknown} is not kept for {model.name}.", did_you_mean(unknown, before))
    if options.forget:
        workers.kept.forget(model, None if ALL in options.forget else options.forget)
    if values:
        workers.kept.keep(model, values)
    kept = workers.kept.of(model)
    recipe = workers.catalog.recipe_with_kept(options.model)
    # What the arguments set is kept now, and is no setting of this command alone.
    options.set, options.seed, options.max_tokens, options.system = [], None, None, None
    options.engine_host = options.build = None
    sources = origins(options, workers.config, recipe)
    found = sourced_values(*settings(options, workers.config, recipe), sources)
    system = system_prompt(options, workers.config, recipe)
    if options.json:
        print_json(
            {
                "model": model.name,
                "quant": model.quant,
                "file": str(workers.paths.models_file),
                "kept": kept,
                "settings": found,
                "system": {"value": system, "from": sources.get(SYSTEM)} if system else None,
            }
        )
        return 0
    say(f"Kept for {model.name}: {', '.join(kept) or 'nothing'}.")
    for parameter, value in found.items():
        say(f"  {settings_text({parameter: value})}")
    if system:
        say(f"  system ({sources.get(SYSTEM, 'default')}): {system}")
    return 0
