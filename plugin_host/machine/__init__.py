"""What the workers of one machine share: decisions, good versions, their states, compiled code."""
