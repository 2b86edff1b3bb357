"""Statistics shared by everything that judges days: blocked inference, findings, sequential tests."""
