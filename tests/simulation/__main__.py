"""`python -m tests.simulation SEED`: run one seed and print its trace and what is wrong with it."""

import sys

from tests.simulation.run import simulate


def main(seed: int) -> int:
    """Print a run; 1 if it has faults."""
    outcome = simulate(seed)
    print(*outcome.trace, sep="\n")
    print(outcome.figures)
    print(*(f"FAULT {fault}" for fault in outcome.faults), sep="\n")
    return int(bool(outcome.faults))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
