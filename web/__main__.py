"""``python -m web`` is the command ``liveedge``."""

from web.cli import main

raise SystemExit(main())
