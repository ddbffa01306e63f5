"""Tasks: how AnnData becomes links, and what a `target` means."""

from scgenot.cells.tasks.screen import Screen
from scgenot.cells.tasks.task import Task
from scgenot.cells.tasks.time_course import TimeCourse
from scgenot.cells.tasks.translation import Translation

__all__ = ["Screen", "Task", "TimeCourse", "Translation"]
