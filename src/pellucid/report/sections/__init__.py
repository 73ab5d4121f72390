"""The sections of a report, one file a theme; each is a pure function from the input to a section."""
