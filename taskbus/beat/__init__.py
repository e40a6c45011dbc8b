"""The scheduler: what schedules mean, who sends their ticks, and what may be said of them at run time."""
