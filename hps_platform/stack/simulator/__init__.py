"""A fleet of simulated machines that answer over real SSH in their own operating system's layouts.

`fleet` names the machines, `model` says how busy each one is at any minute, `timetable` when something goes wrong on
it, `render` puts that into each operating system's words, `server` speaks SSH, `history` writes the past. Nothing here
knows what the platform makes of the texts: it imports neither metrics nor dialects, so that simulator and parser can't
share a mistake.
"""
