"""How settings are defined, loaded and checked. Each package lists its settings in a settings module of its own."""
