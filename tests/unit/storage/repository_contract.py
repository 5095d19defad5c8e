"""What every database must do for Calejo: the same tests run on SQLite and on a real PostgreSQL."""

from tests.unit.storage.duties_contract import DutiesContract
from tests.unit.storage.plans_contract import PlansContract
from tests.unit.storage.plant_contract import PlantContract
from tests.unit.storage.records_contract import RecordsContract
from tests.unit.storage.schema_contract import SchemaContract
from tests.unit.storage.trail_contract import TrailContract


class RepositoryContract(
    RecordsContract, TrailContract, PlantContract, DutiesContract, PlansContract, SchemaContract
):
    """All of it; a subclass brings the fixture `place` and the engine's `definitions`."""
