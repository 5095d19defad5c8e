"""The safety layer: the kernel that every setpoint passes, its limits, its latch, and the actor around
them.
"""
