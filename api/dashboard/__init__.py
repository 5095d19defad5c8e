"""What people see: pages made of what the tree answers, and nothing that computes a setpoint (HMI-1 to HMI-3)."""
