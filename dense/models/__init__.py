"""Models: one home per system. Importing this fills the registries and the table of names."""
import dense.models.deeperaser
import dense.models.ffnet
import dense.models.isnet
import dense.models.stageinteractor
import dense.models.stunet  # noqa: F401
