"""Runs cases of the Autobahn suite against a server that sends everything back; a line for each says how it went."""

import asyncio
import sys

from kosoku import FailureError, run_fuzzingclient

# Some cases wait for most of a second.
PARALLEL = 8


async def main() -> None:
    url, *cases = sys.argv[1:]
    try:
        results = await run_fuzzingclient(url, cases, concurrency=PARALLEL)
    except FailureError as failure:
        results = failure.results
    for case in results:
        print(case.case_id, case.behavior.value, case.behavior_close.value, sep="\t")


asyncio.run(main())
