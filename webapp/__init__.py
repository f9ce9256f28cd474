"""A small shop whose prices, admission and headers are decided by WebAssembly plugins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue

from . import csrf, db, errors
from .api import api
from .extensions import plugins
from .inputs import MAX_NAME, MAX_NOTE, MAX_QUANTITY, current_user
from .money import moment, money
from .secret import secret_key
from .shop import shop

_ROOT = Path(__file__).resolve().parents[1]

#: What plugins may use; what every matching pattern grants, together.
_GRANTS = {
    "*": ["log", "clock", "random", "metrics", "cookies"],
    "flash_sale": ["state"],
    "rate_limit*": ["state"],  # a second limit is a copy under another name
    "inventory_hold": ["state"],
}


def create_app(config: dict[str, Any] | None = None) -> Flask:
    """Make the shop.

    Settings come from the defaults below, then from environment variables that begin with
    ``FLASK_``, then from `config`. `DATABASE` is relative to the instance folder. The database and
    the secret key are made on the first start; any number of workers may start at once.

    :raises RuntimeError: the database or the secret key cannot be used.
    """
    app = Flask(__name__)
    app.config.from_mapping(
        DATABASE="shop.sqlite3",
        MAX_CONTENT_LENGTH=64 * 1024,
        PLUGIN_HOST_DIR=str(_ROOT / "plugins"),
        PLUGIN_HOST_GRANTS=_GRANTS,
        PLUGIN_HOST_TIMEOUT=1.0,  # plugins ask for less, unless they wait for the store
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    app.config["DATABASE"] = str(Path(app.instance_path) / app.config["DATABASE"])
    app.config["SECRET_KEY"] = secret_key(app.config["SECRET_KEY"], Path(app.instance_path))
    db.init_app(app)
    errors.init_app(app)
    plugins.init_app(app)
    app.register_blueprint(shop)
    app.register_blueprint(api)
    app.add_url_rule("/healthz", "healthz", _healthz)
    app.add_template_filter(money)
    app.add_template_filter(moment)
    app.context_processor(_template_names)
    return app


def _healthz() -> ResponseReturnValue:
    db.get_db().execute("SELECT 1 FROM product LIMIT 1").fetchone()
    return {"status": "ok"}


def _template_names() -> dict[str, object]:
    return {
        "csrf_token": csrf.token,
        "current_user": current_user(),
        "here": request.full_path.rstrip("?") if request.method == "GET" else "/",
        "limits": {"quantity": MAX_QUANTITY, "note": MAX_NOTE, "name": MAX_NAME},
        "serving": _serving,
        "worker": os.getpid(),
    }


def _serving() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plugins.status()["plugins"]
    return found
