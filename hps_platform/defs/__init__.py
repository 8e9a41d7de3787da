"""What Dagster runs, one module a concept; each asset is a few lines round a call into a service.

Every module here is loaded by `hps_platform.definitions`, so plain functions belong to the services, not here.
"""
