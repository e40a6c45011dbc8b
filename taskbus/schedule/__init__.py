"""When things run: timetables, as plain values, and the rules of local time. Nothing here knows tasks or databases."""
