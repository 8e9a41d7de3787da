"""Schema migrations, forward only; `hps_platform.store.database.migrate` runs them."""
