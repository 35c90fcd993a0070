"""Preference spaces: the coordinates in which a user's taste is learned, `v_m = P (e_m − μ)`.

`space` holds the map and its name, `ratings` what one user rated, `taste` the estimate of how tastes spread over many
users, and `fitted` makes a map of that.
"""

from langchain_persona.spaces.ratings import UserRatings
from langchain_persona.spaces.space import PreferenceSpace

__all__ = ["PreferenceSpace", "UserRatings"]
