"""`trajectory.integrations.lightning` under the name that users import."""

from trajectory.integrations.lightning import *  # noqa: F403
