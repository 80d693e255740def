"""`python -m hamguard`, which is what `torchrun -m hamguard` starts."""

from hamguard.cli.main import run

if __name__ == "__main__":
    run()
