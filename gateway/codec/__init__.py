"""What can be known of a coded stream without decoding it: NAL units, parameter sets, codec strings."""
