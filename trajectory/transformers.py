"""`trajectory.integrations.transformers` under the name that users import."""

from trajectory.integrations.transformers import *  # noqa: F403
