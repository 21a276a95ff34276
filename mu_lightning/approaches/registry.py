"""Every approach by name. One is added as a file with a frozen dataclass, and one line here."""

from mu_lightning.approaches.base import Approach
from mu_lightning.approaches.ensemble import Ensemble
from mu_lightning.approaches.iterative import Iterative
from mu_lightning.approaches.joint import Joint
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.approaches.single import Single
from mu_lightning.approaches.tuned import Tuned

APPROACHES: dict[str, type[Approach]] = {one.name: one for one in (Single, Joint, OneShot, Tuned, Ensemble, Iterative)}
