"""Fine-tuning: the loss, the schedule, the Lightning module and what it reports and saves."""
