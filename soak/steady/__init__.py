"""Whether memory stays where it is: short requests at a steady rate, without any fault."""
