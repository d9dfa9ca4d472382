"""What a cohort writes to be looked at: the list of cases, the summary with its figures, the timelines."""
