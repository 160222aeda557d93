"""Strategies held against each other: intervals, paired differences, the verdict, and the page that shows it."""
