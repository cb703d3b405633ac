"""Attribution: methods, explanations of sequences, raw attention."""
