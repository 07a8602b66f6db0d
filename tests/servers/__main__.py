"""One of the servers, to be tried by hand, and for benchmarks: it prints its address and ends with standard input.

python -m tests.servers vllm --port 8000 --decode-tps 60 --total-tps 300 --slots 8
"""

from __future__ import annotations

import argparse
import sys

from tests.servers import lmstudio, ollama, tgi, vllm
from tests.servers.script import Pace, Script
from tests.servers.serving import serving

KINDS = {
    "ollama": (ollama.OllamaServer, ollama.CONVERSATION),
    "vllm": (vllm.VllmServer, vllm.CONVERSATION),
    "lmstudio": (lmstudio.StudioServer, lmstudio.CONVERSATION),
    "tgi": (tgi.TgiServer, tgi.CONVERSATION),
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("kind", choices=KINDS)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--prefill-tps", type=float)
    options.add_argument("--decode-tps", type=float)
    options.add_argument("--total-tps", type=float)
    options.add_argument("--slots", type=int)
    options.add_argument("--cut-seed", type=int)
    chosen = options.parse_args()
    pace = Pace(chosen.prefill_tps, chosen.decode_tps, chosen.total_tps, chosen.slots)
    make, conversation = KINDS[chosen.kind]
    with serving(make(Script(conversation, pace, cut_seed=chosen.cut_seed)), chosen.port) as served:
        print(served.url, flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
