"""What plugins may ask for: functions of the host, each behind a capability."""
