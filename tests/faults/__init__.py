"""What the job does when things break; the table is docs/faults.md."""
