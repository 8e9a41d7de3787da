"""The archive: a family's raw rows of a day as one Parquet file, so that its partition can be dropped.

`days` writes, proves, drops and restores; `reading` answers questions from the files; `records` is the table that
says where each file is and what became of the day; `files` is the only place that touches them. When what is archived
and dropped is decided in `hps_platform.retention`.
"""
