from tests.defenses.conftest import place as place  # noqa: PLC0414
from tests.training.conftest import blobs as blobs  # noqa: PLC0414
