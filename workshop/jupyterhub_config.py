"""JupyterHub for a workshop on one machine: a learner who knows the password picks a name, and gets
a JupyterLab with lessons and exercises of their own.

    LOOPBOUND_PASSWORD=… jupyterhub --config workshop/jupyterhub_config.py

All of them run under the account that started the hub, so that no accounts have to be made: they
    could read each other's files.
"""

import os
import shutil
from pathlib import Path

c = get_config()  # noqa: F821 (JupyterHub provides it)

COURSE = Path(__file__).resolve().parents[1]
# Beside the clone, not in it: what learners write is no change of the course.
HOMES = Path(os.environ.get("LOOPBOUND_HOMES", COURSE.parent / "loopbound-homes"))


def hand_out(spawner):
    """A learner's first start: their own copy of the lessons and the exercises, side by side, so
    that the links between them work.
    """
    for folder in ("notebooks", "exercises"):
        mine = HOMES / spawner.user.name / folder
        if not mine.exists():
            shutil.copytree(
                COURSE / folder,
                mine,
                ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"),
            )


c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(HOMES / "{username}")
c.Spawner.pre_spawn_hook = hand_out
c.Spawner.default_url = "/lab/tree/notebooks/00-start-here.ipynb"
# As `python3 lab.py` sets it: Python's frozen modules make the kernel's debugger warn.
c.Spawner.environment = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
if hasattr(os, "geteuid") and os.geteuid() == 0:
    c.Spawner.args = ["--allow-root"]

c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ[
    "LOOPBOUND_PASSWORD"
]  # eight characters or more
c.Authenticator.allow_all = True
# A name becomes a folder's name.
c.Authenticator.username_pattern = r"[a-z][a-z0-9-]{1,30}"

# The hub's own files go beside the homes.
c.JupyterHub.db_url = f"sqlite:///{HOMES / '.hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(HOMES / ".hub-cookie-secret")
c.ConfigurableHTTPProxy.pid_file = str(HOMES / ".hub-proxy.pid")
HOMES.mkdir(parents=True, exist_ok=True)
