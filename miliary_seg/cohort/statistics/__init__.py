"""Patients and figures over finished cases: incidence, groups, survival; ``summary`` puts them into one document."""
