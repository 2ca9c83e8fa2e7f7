"""What the tests are worth: faults of the library, drawn and tried."""
